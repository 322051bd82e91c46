# Runs a command in a mount namespace of its own, in which the directory of Azure Arc's key files is the one of the emulator.
# usage: sh -c "$(cat run.sh)" sh WORK COMMAND [ARGUMENT]…; WORK has two directories, `tokens` with the key files, and `covered`.
set -e
tokens=/var/opt/azcmagent/tokens
work=$1
shift
if [ ! -d "$tokens" ]; then
    # An empty file system over the nearest directory that exists, with its entries in it: nothing is created on the host.
    covered=/var/opt
    [ -d "$covered" ] || covered=/var
    mount --rbind "$covered" "$work/covered"
    mount -t tmpfs -o mode=755 tmpfs "$covered"
    for entry in "$work"/covered/* "$work"/covered/.[!.]*; do
        copy=$covered/${entry##*/}
        if [ -L "$entry" ]; then
            cp -P "$entry" "$copy"
        elif [ -d "$entry" ]; then
            mkdir "$copy"
            mount --rbind "$entry" "$copy"
        elif [ -e "$entry" ]; then
            : >"$copy"
            mount --bind "$entry" "$copy"
        fi
    done
    mkdir -p "$tokens"
fi
mount --bind "$work/tokens" "$tokens"
# The kernel has forgotten the signal at the end of the parent if the namespace was created without privileges.
exec setpriv --pdeathsig KILL --inh-caps=-all --ambient-caps=-all -- "$@"
