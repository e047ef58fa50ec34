#!/bin/sh
# Runs once in the compose file's service `identities`: certificates, the cluster secret and the
# database's password, each into the volume of who needs it. What is there stays.
set -eu
cd /identities
umask 077
# The account of the image's nodes.
account=10001:10001

random() { head -c "$1" /dev/urandom | base64 | tr '+/' '-_'; }

[ -e authority/ca.pem ] || parlance cert ca --cluster compose --out authority
[ -e authority/cluster.secret ] || head -c 32 /dev/urandom | base64 >authority/cluster.secret
[ -e database/password ] || random 24 | tr -d '\n' >database/password

for n in 1 2 3; do
    node=node-$n
    [ -e "$node/$node.pem" ] || parlance cert node --ca authority --name "$node" --out "$node"
    cp authority/ca.pem authority/cluster.secret "$node/"
    cat >"$node/node.toml" <<TOML
[http]
# Only the balancer reaches the nodes, over networks of these kinds.
trusted_proxies = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]

[auth]
cluster_secret_file = "/etc/parlance/cluster.secret"

[database]
url = "postgres://parlance:$(cat database/password)@postgres:5432/parlance"

[cluster]
ca = "/etc/parlance/ca.pem"
cert = "/etc/parlance/$node.pem"
key = "/etc/parlance/$node.key"
advertise = "$node"
expect = 3
join = ["node-1:7701", "node-2:7701", "node-3:7701"]
TOML
    chown -R "$account" "$node"
done
