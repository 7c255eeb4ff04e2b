#!/usr/bin/env bash
# Runs the flights example, shows what runs again when something changes, and why, and lets the model answer. Needs
# `headrace` and `python` on the PATH; answering needs curl and bubblewrap too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

heading() { printf '\n--- %s\n' "$*"; }

heading "The whole way: 336,776 flights, two candidates, a report, December scored, an endpoint"
headrace run flights --month 12
run=$(headrace runs --json | grep -o '"run":"[^"]*"' | head -n 1 | cut -d '"' -f 4)

heading "The same again: all of it is reused, and the endpoint stays as it is"
headrace run flights --month 12

heading "Another month: only its scoring runs (deploying always does)"
headrace run flights --month 11

# Edits are made in a copy, with a copy of the state, so that nothing here changes.
copy=$(mktemp -d)
asks=$(mktemp -d)
server=""
trap 'rm -rf "$copy" "$asks"; [ -z "$server" ] || kill "$server" 2> /dev/null || true' EXIT
cp -R . "$copy"

heading "In a copy, a comment is edited: nothing else runs"
(cd "$copy" && sed -i.bak 's/^# Means over flights/# Averages over flights/' delays/features.py && rm delays/*.bak && headrace run flights)

heading "In the copy, the gate asks for more: only the judging runs"
(cd "$copy" && sed -i.bak 's/AUC >= 0.7/AUC >= 0.72/' pipelines.py && rm ./*.bak && headrace run flights)

heading "In the copy, predictions are to be made 3 hours ahead, not 2: what would run, and why; loading and cleaning wouldn't"
(cd "$copy" && sed -i.bak 's/^PREDICTED_BEFORE_H = 2/PREDICTED_BEFORE_H = 3/' delays/features.py && rm delays/*.bak && headrace plan flights)

heading "Only the features, for now"
(cd "$copy" && headrace run flights --only features)

heading "Why did the features run?"
(cd "$copy" && headrace explain latest features)

serve() {
    type -p curl > /dev/null || { echo "curl is missing" > "$asks/serve.log"; return 1; }
    headrace serve delays --port 0 > "$asks/serve.log" 2>&1 &
    server=$!
    for _ in $(seq 600); do
        kill -0 "$server" 2> /dev/null || return 1
        url=$(grep -o 'http://127[.0-9:]*' "$asks/serve.log" | head -n 1) && curl -sf "$url/ready" > /dev/null && return 0
        sleep 0.1
    done
    return 1
}
soon() { # until a command succeeds: a server looks twice a second at what the ledger says
    for _ in $(seq 300); do "$@" > /dev/null 2>&1 && return 0; sleep 0.1; done
    echo "this didn't come: $*" >&2
    return 1
}
post() { curl -sS --fail-with-body "$url/v1/endpoints/delays/$1" -H 'content-type: application/json' -d "@$2"; }
ask() { post predict "$asks/request.json" > "$asks/answer.json"; }
version() { grep -o '"version":"[^"]*"' "$asks/answer.json" | cut -d '"' -f 4; }
answered_by() { ask && [ "$(version)" = "$1" ]; }
label() {
    python -m delays.client labels "$asks/raw.arrow" 12 "$asks/answer.json" > "$asks/labels.json"
    post feedback "$asks/labels.json"
    echo
}

show_answers() {
    heading "The endpoint \`delays\` answers about flights of December, as a client can describe them two hours ahead"
    headrace get "$run" raw --to "$asks/raw.arrow"
    python -m delays.client request "$asks/raw.arrow" 12 > "$asks/request.json"
    ask
    good=$(version)
    head -c 400 "$asks/request.json" && echo ' ...'
    head -c 200 "$asks/answer.json" && echo ' ...'

    heading "The flights have landed: what became of them, by the ids of the predictions"
    label

    heading "A model that was made worse, from scrambled labels: its report doesn't pass, so it only gets copies"
    headrace run worse
    worse=$(headrace endpoints delays --json | grep -o '"shadow":[0-9]*' | head -n 1 | cut -d : -f 2)
    soon grep -q "version $worse .* is loaded" "$asks/serve.log"
    ask
    label
    headrace endpoints

    heading "Nobody gets its answers without a reason"
    headrace promote "delays:$worse" || true
    headrace route "delays:$worse" --share 0.3 --force --why "let it try"
    for _ in 1 2 3 4 5 6 7 8; do ask; grep -o '"variant":"[^"]*"' "$asks/answer.json"; done | sort | uniq -c

    heading "Somebody insists; labels show what that does, and it is rolled back"
    headrace promote "delays:$worse" --force --why "it is newer"
    soon answered_by "delays:$worse"
    label
    headrace rollback delays --why "its answers say nothing"
    soon answered_by "$good"
    label
    headrace endpoints delays

    heading "What was answered, and how good it was"
    headrace predictions
    headrace predictions delays --labels --to "$asks/answers.arrow"
    python -m delays.client losses "$asks/answers.arrow"
}

if serve; then
    show_answers
    kill "$server"
    wait "$server"
    server=""
else
    heading "No server can run here, so this part is left out"
    cat "$asks/serve.log"
fi

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
