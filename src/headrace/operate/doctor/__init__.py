"""The checks of `headrace doctor`: machine, project, ledger, stores and pools. Each finding says what to do. Begin with
`doctor`. Nothing is repaired here."""
