"""Gathers and ranks the numbers that tasks returned or logged, and reads their curves. Begin with `metrics`. The
package `report` decides how a number is shown."""
