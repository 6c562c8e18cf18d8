# Keeps one PostgreSQL, and ends it and removes its folder when the process that wanted it is gone.
#
#   sh -c SCRIPT NAME FOLDER POSTGRES [ARGUMENT ...]
#
# Standard input is a pipe that nobody ever writes to. Its end of file means: whoever holds the other end
# has closed it, or has died of anything, SIGKILL included. Runs as leader of its own process group.

folder=$1
shift
exec 3<&0 </dev/null

pg=
stopping=
stop() {
    stopping=$1
    if [ -n "$pg" ]; then kill -"$1" "$pg" 2>/dev/null; fi
}
trap 'stop INT' HUP INT TERM # PostgreSQL's fast shutdown
trap 'stop QUIT' QUIT        # immediate shutdown
trap 'stop KILL' USR1

# The watcher: waits for the end of file, then asks for a shutdown, more firmly each time. Asking repeatedly
# also covers a PostgreSQL that was too young to have installed its signal handlers.
(
    while read -r _; do :; done
    for signal in TERM TERM TERM TERM TERM QUIT QUIT QUIT QUIT QUIT USR1; do
        kill -"$signal" $$ 2>/dev/null || exit
        sleep 1
    done
) <&3 &
exec 3<&-

while :; do
    rm -f "$folder/again"
    "$@" >>"$folder/log" 2>&1 &
    pg=$!
    if [ -n "$stopping" ]; then stop "$stopping"; fi
    # A trapped signal ends the wait, not the PostgreSQL.
    while kill -0 "$pg" 2>/dev/null; do wait "$pg"; done
    pg=
    # Whoever wants it started again leaves this file before it ends the current one.
    if [ -n "$stopping" ] || [ ! -e "$folder/again" ]; then break; fi
done

# The rest of our group: the watcher and its sleep.
trap '' HUP INT QUIT TERM USR1
kill -TERM 0

# Backends of a postmaster that was killed may still be writing for a moment.
tries=0
cd /
while ! rm -rf "$folder" 2>/dev/null && [ "$tries" -lt 50 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
