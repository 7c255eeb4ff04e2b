#!/usr/bin/env bash
# Runs the flights example, and shows what runs again when something changes, and why. Needs `headrace` on the PATH.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

heading() { printf '\n--- %s\n' "$*"; }

heading "The whole way: 336,776 flights, two candidates, a report, December scored"
headrace run flights --month 12
run=$(headrace runs --json | grep -o '"run":"[^"]*"' | head -n 1 | cut -d '"' -f 4)

heading "The same again: all of it is reused"
headrace run flights --month 12

heading "Another month: only its scoring runs"
headrace run flights --month 11

# Edits are made in a copy, with a copy of the state, so that nothing here changes.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -R . "$copy"

heading "In a copy, a comment is edited: nothing runs"
(cd "$copy" && sed -i.bak 's/^# Means over flights/# Averages over flights/' delays/features.py && rm delays/*.bak && headrace run flights)

heading "In the copy, the gate asks for more: only the judging runs"
(cd "$copy" && sed -i.bak 's/AUC >= 0.7/AUC >= 0.72/' pipelines.py && rm ./*.bak && headrace run flights)

heading "In the copy, predictions are to be made 3 hours ahead, not 2: what would run, and why; loading and cleaning wouldn't"
(cd "$copy" && sed -i.bak 's/^PREDICTED_BEFORE_H = 2/PREDICTED_BEFORE_H = 3/' delays/features.py && rm delays/*.bak && headrace plan flights)

heading "Only the features, for now"
(cd "$copy" && headrace run flights --only features)

heading "Why did the features run?"
(cd "$copy" && headrace explain latest features)

heading "What it made"
mkdir -p out
headrace get "$run" score --to out/december.parquet
headrace show "$run" --html --to out/run.html
headrace get "$run" classification.page --to out/report.html
headrace card "$run" --to out/card.html
echo "December, scored:   $PWD/out/december.parquet"
echo "the run, as a page: $PWD/out/run.html"
echo "the judgement:      $PWD/out/report.html"
echo "the model's card:   $PWD/out/card.html"
