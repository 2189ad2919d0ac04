#!/usr/bin/env bash
# radosgw.sh FOLDER PORT: Ceph's S3 server (Debian's packages radosgw, ceph-mon, ceph-osd) on 127.0.0.1:PORT, in
# memory, for tests against a second server:
#   scripts/radosgw.sh /tmp/ceph 7480
#   IMGPIPE_TEST_S3_URL=http://127.0.0.1:7480 .venv/bin/pytest imgpipe_tests/storage
# Its processes are in FOLDER/pids.
set -euo pipefail
mkdir -p "$1"
folder=$(realpath "$1") port=$2 mon=127.0.0.1:$(($2 + 1))
export CEPH_CONF="$folder/ceph.conf"
fsid=$(cat /proc/sys/kernel/random/uuid)
cat > "$CEPH_CONF" << END
[global]
fsid = $fsid
run dir = $folder
admin socket = $folder/\$name.asok
log file = $folder/\$name.log
mon host = v2:$mon
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = $folder/keyring
auth allow insecure global id reclaim = false
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 4294967296
[mon.a]
mon data = $folder/mon
mon addr = v2:$mon
[osd.0]
osd data = $folder/osd
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:$port
rgw dns name = 127.0.0.1
END
ceph-authtool --create-keyring "$folder/keyring" --gen-key -n mon. --cap mon 'allow *' > /dev/null
for who in client.admin osd.0 client.rgw; do
  ceph-authtool "$folder/keyring" --gen-key -n $who --cap mon 'allow *' --cap osd 'allow *' > /dev/null
done
monmaptool --create --clobber --fsid "$fsid" --addv a "[v2:$mon]" "$folder/monmap" > /dev/null
mkdir -p "$folder/mon" "$folder/osd"
: > "$folder/pids"
begin() {
  "$@" > "$folder/$(basename "$1").out" 2>&1 &
  echo $! >> "$folder/pids"
}
ceph-mon --mkfs -i a --monmap "$folder/monmap" --keyring "$folder/keyring"
begin ceph-mon -f -i a
timeout 60 ceph osd create > /dev/null
ceph-osd -i 0 --mkfs --osd-uuid "$(cat /proc/sys/kernel/random/uuid)" 2> /dev/null
timeout 30 ceph osd crush add osd.0 1.0 root=default host=here > /dev/null
begin ceph-osd -f -i 0
begin radosgw -f -n client.rgw
for _ in $(seq 60); do
  if curl -s -o /dev/null "http://127.0.0.1:$port/"; then break; fi
  sleep 1
done
radosgw-admin user create --uid=testing --display-name=testing --access-key=testing \
  --secret-key=testing > /dev/null
echo "http://127.0.0.1:$port"
