# The node's first process, in network, mount and PID namespaces of its own. Arguments: the node's folder, then names of programs.
# Each program is a script in programs/, is started when there is a file of its name in start/, and again whenever it ends.
set -u
node=$1
shift

# Mounts are passed on to the containers, and never to the machine.
mount --make-rshared /
# kubelet sets these for the whole machine; it is given files that say so already, and the machine keeps what it has.
for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
    file=$node/sysctl/$(basename "${setting%%=*}")
    echo "${setting##*=}" >"$file"
    mount --bind "$file" "/proc/sys/${setting%%=*}"
done
for folder in lib log; do
    mount --bind "$node/var-$folder" "/var/$folder"
done
mkdir -p /var/lib/kubelet
mount -t tmpfs tmpfs /run
mkdir -p /run/lock

until ip link show "$VSNODE_LINK" >/dev/null 2>&1; do sleep 0.02; done
sh -c "$VSNODE_LINK_UP"
echo 1 >/proc/sys/net/ipv4/ip_forward

keep() {
    until [ -e "$node/start/$1" ]; do sleep 0.05; done
    while :; do
        sh "$node/programs/$1" </dev/null >>"$node/log/$1.log" 2>&1 &
        echo $! >"$node/pid/$1"
        wait $!
        echo "--- $1 ended ($?)" >>"$node/log/$1.log"
        sleep 0.3
    done
}
for program; do
    keep "$program" &
done
wait
