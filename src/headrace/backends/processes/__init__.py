"""What backends share that begin workers as processes: the zygote, its line, its namespace, what it leaves. Begin with
`spawn`. No backend knows another."""
