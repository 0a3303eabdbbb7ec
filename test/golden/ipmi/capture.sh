#!/bin/bash
# Makes the golden files of this directory anew. Run it in the root of a built checkout, as root (tcpdump).
# Debian 12: ipmitool, openipmi (ipmi_sim), freeipmi-tools (rmcpping), tcpdump.
set -eu
here=test/golden/ipmi
work=$(mktemp -d)
children=()
trap 'kill "${children[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
K_G=100102030405060708090a0b0c0d0e0f10111213

cat >"$work/lan.conf" <<CONF
name "golden"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.77 623
    priv_limit admin
    allowed_auths_callback none md5
    allowed_auths_user none md5
    allowed_auths_operator none md5
    allowed_auths_admin none md5
    guid 000102030405060708090a0b0c0d0e0f
  endlan
  chassis_control "$work/chassis"
  user 2 true "admin" "secret" admin 10 none md5
CONF
cat >"$work/bmc.emu" <<CONF
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02
sel_enable 0x20 1000 0x0a
mc_enable 0x20
CONF
cat >"$work/chassis" <<CONF
#!/bin/sh
op=\$1; shift
case \$op in
get) for key in "\$@"; do echo "\$key:\$(cat $work/\$key 2>/dev/null || echo 0)"; done ;;
set) while [ \$# -gt 1 ]; do echo "\$2" >$work/\$1; shift 2; done ;;
esac
CONF
chmod +x "$work/chassis"
ipmi_sim -c "$work/lan.conf" -f "$work/bmc.emu" -s "$work" -n >"$work/sim.log" 2>&1 &
children+=($!)
# The responder of the tests, for what ipmi_sim does not speak.
node --input-type=module -e "
  const { IpmiResponder } = await import('$PWD/build/test/peer/ipmi-responder.js');
  const users = [{ name: 'admin', password: 'secret', privilege: 4 }];
  await IpmiResponder.start({ users, suites: [8, 17], port: 9617 });
  await IpmiResponder.start({ users, suites: [17], port: 9618, bmcKey: Buffer.from('$K_G', 'hex') });
" &
children+=($!)
sleep 1

# record NAME PORT SUITE K_G TITLE -- COMMAND: one golden file
record() {
  local name=$1 port=$2 suite=$3 kg=$4 title=$5
  shift 6
  tcpdump -i lo -U --immediate-mode -w "$work/$name.pcap" "udp port $port" 2>"$work/tcpdump.log" &
  local dump=$!
  sleep 1
  "$@" >"$work/$name.out" 2>&1 || true
  sleep 0.5
  kill -INT $dump
  wait $dump || true
  local about
  about=$(printf '{"title":"%s","command":"%s","username":"admin","password":"secret","bmcKey":%s,"suite":%s}' \
    "$title" "${*//\"/}" "$kg" "$suite")
  node build/$here/pcap-to-json.js "$work/$name.pcap" $here/$name.json "$port" "$about"
}

sim=(ipmitool -I lanplus -H 127.0.0.77 -U admin -C 3)
record ping 623 null null "rmcpping, ipmi_sim" -- rmcpping -c 1 127.0.0.77
record suite-3-power 623 3 null "ipmitool, ipmi_sim" -- "${sim[@]}" -P secret power on
record suite-3-boot-device 623 3 null "ipmitool, ipmi_sim" -- "${sim[@]}" -P secret chassis bootdev pxe options=persistent,efiboot
record suite-3-device-id 623 3 null "ipmitool, ipmi_sim" -- "${sim[@]}" -P secret mc info
record suite-3-wrong-password 623 3 null "ipmitool, ipmi_sim" -- "${sim[@]}" -P wrong power status
record suite-3-wrong-user 623 3 null "ipmitool, ipmi_sim" -- ipmitool -I lanplus -H 127.0.0.77 -U nobody -P secret -C 3 power status
record suite-17-refused 623 17 null "ipmitool, ipmi_sim" -- ipmitool -I lanplus -H 127.0.0.77 -U admin -P secret -C 17 power status
own=(ipmitool -I lanplus -H 127.0.0.1 -U admin -P secret)
record suite-17-power 9617 17 null "ipmitool, the responder of the tests" -- "${own[@]}" -p 9617 -C 17 power on
record suite-17-boot-device 9617 17 null "ipmitool, the responder of the tests" -- "${own[@]}" -p 9617 -C 17 chassis bootdev disk options=persistent,efiboot
record suite-17-bmc-key 9618 17 "\"$K_G\"" "ipmitool, the responder of the tests" -- "${own[@]}" -p 9618 -C 17 -y $K_G power status
record suite-8-power 9617 8 null "ipmitool, the responder of the tests" -- "${own[@]}" -p 9617 -C 8 power status
