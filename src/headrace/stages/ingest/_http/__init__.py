"""`ingest.http`: what a web service gives, as a table. Begin with `http`, the stage, then `pagination`. No request
leaves but by `caller`, which checks where it goes."""
