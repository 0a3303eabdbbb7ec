import { dhcpOptionTable } from "./dhcp-options.ts";
import {
  absolutePath,
  defaulted,
  duid,
  duration,
  type Field,
  flag,
  freeText,
  integer,
  ipv4,
  ipv4Interface,
  ipv6,
  ipv6Interface,
  list,
  mac,
  mebibytes,
  oneOf,
  optional,
  required,
  secretFile,
  subtable,
  tables,
  text,
  url,
} from "./field.ts";

/** A section of appliance.conf. */
export interface Section<Fields extends Readonly<Record<string, Field<unknown>>>> {
  readonly sentence: string;
  readonly fields: Fields;
}

function section<Fields extends Readonly<Record<string, Field<unknown>>>>(
  sentence: string,
  fields: Fields,
): Section<Fields> {
  return { sentence, fields };
}

const identifier = text(/^[A-Za-z0-9._-]{1,63}$/, "1 to 63 letters, digits, dots, hyphens and underscores");
const hostname = text(/^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/, "a host name");
const domainName = text(/^(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}$/, "a domain name");
const tcpPort = integer(1, 65535);

/** Every key of appliance.conf. The types, the shipped file, the documentation and all checks come from here. */
export const configTable = {
  appliance: section("What this appliance is called and where it keeps its state.", {
    name: defaulted(identifier, "ironrack", "Name of this appliance, shown to people and as the holder of locks."),
    site: defaulted(identifier, "site", "Name of the site; part of every MQTT topic."),
    rack: defaulted(identifier, "rack", "Name of the rack; part of every MQTT topic."),
    state_dir: defaulted(
      absolutePath,
      "/var/lib/ironrack",
      "Directory of the store, its key and the image cache; mode 0700.",
    ),
    log_level: defaulted(oneOf("debug", "info", "warn", "error"), "info", "The least level that is logged."),
  }),
  boot: section("The provisioning network and what machines boot over it.", {
    interface: required(
      text(/^[^\s/]{1,15}$/, "the name of a network interface"),
      "eth1",
      "The interface on the provisioning network; DHCP, TFTP and boot HTTP serve it and no other.",
    ),
    address: required(
      ipv4Interface,
      "10.20.0.1/24",
      "The appliance's own address on the provisioning network, with its prefix.",
    ),
    http_port: defaulted(tcpPort, 8081, "TCP port of the boot HTTP service."),
    https_cert_file: optional(
      absolutePath,
      "/etc/ironrack/boot-cert.pem",
      "PEM file with the certificate of the boot HTTP service and those that signed it; with https_key_file it serves TLS too. Read again at SIGHUP.",
    ),
    https_key_file: optional(
      absolutePath,
      "/etc/ironrack/boot-key.pem",
      "PEM file with the key of https_cert_file, not encrypted. Read again at SIGHUP.",
    ),
    https_port: defaulted(tcpPort, 8443, "TCP port of boot HTTP over TLS, beside http_port."),
    https_for: defaulted(
      list(oneOf("uefi-http", "ipxe")),
      [],
      "Programs that trust the certificate on all machines of the rack, and are given https: URLs by DHCP: firmware that boots over HTTP, iPXE that says it has TLS.",
    ),
    tftp_port: defaulted(tcpPort, 69, "UDP port of the TFTP service."),
    loader_dirs: defaulted(
      list(absolutePath),
      ["/usr/lib/ipxe"],
      "Directories whose files TFTP and boot HTTP give to anybody by name: boot loaders, nothing secret.",
    ),
    template_dir: defaulted(
      absolutePath,
      "/etc/ironrack/boot.d",
      "Directory of the operator's own boot scripts (docs/boot.md, Templates); it may be absent.",
    ),
    bios_loader: defaulted(text(), "undionly.kpxe", "Boot loader for BIOS machines: a file of loader_dirs."),
    uefi_loader: defaulted(text(), "snponly.efi", "Boot loader for UEFI machines on x86-64: a file of loader_dirs."),
    uefi_arm64_loader: defaulted(
      text(),
      "snponly-arm64.efi",
      "Boot loader for UEFI machines on arm64: a file of loader_dirs; Debian 12 has none, ipxe.org has.",
    ),
    kernel: defaulted(absolutePath, "/usr/lib/ironrack/ramdisk/vmlinuz", "Kernel of the ramdisk."),
    initrd: defaulted(absolutePath, "/usr/lib/ironrack/ramdisk/initrd", "Initial RAM disk with the agent."),
    arm64_kernel: optional(
      absolutePath,
      "/usr/lib/ironrack/ramdisk-arm64/vmlinuz",
      "Kernel of a ramdisk for arm64, such as a build of ironic-python-agent; nodes whose property cpu_arch is aarch64 boot it.",
    ),
    arm64_initrd: optional(
      absolutePath,
      "/usr/lib/ironrack/ramdisk-arm64/initrd",
      "Initial RAM disk for arm64, with arm64_kernel.",
    ),
    kernel_arguments: defaulted(freeText, "", "Added to the ramdisk's kernel command line."),
    console: defaulted(freeText, "ttyS0,115200n8", "Console of the ramdisk's kernel; empty: the kernel's own choice."),
  }),
  dhcp: section("The DHCP service on the provisioning network.", {
    enabled: defaulted(flag, true, "Whether ironrack answers DHCP."),
    proxy: defaulted(
      flag,
      false,
      "Whether addresses come from another DHCP server on this network: then ironrack answers only firmware, and only with what to boot.",
    ),
    probe: defaulted(
      flag,
      true,
      "Whether an address is asked for by ARP before it is offered to a client that never had it.",
    ),
    authoritative: defaulted(
      flag,
      true,
      "Whether a client that asks for an address it cannot have is told so (DHCPNAK); false where another server serves the same network.",
    ),
    pool_start: optional(
      ipv4,
      "10.20.0.100",
      "First address that is given to machines; without a pool only reservations are served.",
    ),
    pool_end: optional(ipv4, "10.20.0.199", "Last address that is given to machines."),
    lease_time: defaulted(duration(60, 604_800), 3600, "How long an address is lent."),
    offer_time: defaulted(duration(5, 600), 60, "How long an offered address is held for the client."),
    gateway: optional(ipv4, "10.20.0.254", "Default router told to machines."),
    dns: defaulted(list(ipv4), [], "Name servers told to machines."),
    domain: optional(
      text(/^[A-Za-z0-9.-]{1,253}$/, "a domain name"),
      "rack.example.org",
      "Domain name told to machines.",
    ),
    ntp: defaulted(list(ipv4), [], "Time servers told to machines."),
    discovery: defaulted(
      oneOf("off", "on"),
      "off",
      "Whether machines that are not enrolled are booted into the ramdisk to be found; off: they get an address and no boot file.",
    ),
    reservations: defaulted(
      tables({ mac, address: ipv4 }, { hostname, options: dhcpOptionTable }),
      [],
      "Fixed addresses, as [[dhcp.reservations]] with mac and address, and perhaps hostname and options of its own ([dhcp.reservations.options]).",
    ),
    options: subtable(
      dhcpOptionTable,
      'tftp_server_address = ["10.20.0.1"]',
      "Further DHCP options for machines that ask for them, by name, or by number with a type: 224 = { u16 = 5 }.",
    ),
  }),
  dhcp6: section(
    "DHCPv6 on the provisioning network, beside DHCP; router advertisements come from elsewhere (docs/boot.md).",
    {
      enabled: defaulted(flag, false, "Whether ironrack answers DHCPv6, and TFTP and boot HTTP over IPv6."),
      address: optional(
        ipv6Interface,
        "fd00:20::1/64",
        "The appliance's own IPv6 address on the provisioning network, with its prefix; DHCPv6 needs it.",
      ),
      pool_start: optional(
        ipv6,
        "fd00:20::1000",
        "First address that is given to machines; without a pool only reservations are served.",
      ),
      pool_end: optional(ipv6, "fd00:20::1fff", "Last address that is given to machines; at most 16384 in all."),
      valid_lifetime: defaulted(duration(60, 604_800), 3600, "How long an address is lent."),
      preferred_lifetime: defaulted(
        duration(60, 604_800),
        2400,
        "How long of that it is used for new connections; it is renewed at half of this time.",
      ),
      rapid_commit: defaulted(
        flag,
        false,
        "Whether a client that asks so gets its address at once, in two messages; only where no other server answers.",
      ),
      preference: defaulted(
        integer(0, 255),
        0,
        "Clients choose the server with the highest; 255: at once, without waiting for others.",
      ),
      dns: defaulted(list(ipv6), [], "Name servers told to machines."),
      domain_search: defaulted(list(domainName), [], "Domains in which machines look for names."),
      boot_host: optional(
        text(
          /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)$/,
          "a host name, or an IPv6 address in brackets",
        ),
        "boot.rack.example.org",
        "Host in the URLs of what machines boot over IPv6; without it, the address.",
      ),
      reservations: defaulted(
        tables({ address: ipv6 }, { mac, duid }),
        [],
        "Fixed addresses, as [[dhcp6.reservations]] with address and one of mac and duid.",
      ),
    },
  ),
  api: section("The REST API, which agents and Ironic's clients use.", {
    address: optional(ipv4, "10.20.0.1", "Address to listen on; without it, the one on the provisioning network."),
    port: defaulted(tcpPort, 6385, "TCP port."),
  }),
  control: section("The Unix socket of the ironrack command.", {
    socket: defaulted(absolutePath, "/run/ironrack/control.sock", "Path of the socket."),
    group: optional(
      text(/^[a-z_][a-z0-9_-]{0,31}$/, "the name of a group"),
      "ironrack",
      "Group that may use the socket; without it, only the daemon's own user and root.",
    ),
  }),
  mqtt: section("The command channel to the central site.", {
    enabled: defaulted(flag, false, "Whether the site commands this rack over MQTT."),
    url: optional(
      url("mqtt", "mqtts"),
      "mqtts://broker.example.org:8883",
      "The site's broker, e.g. mqtts://broker.example.org:8883.",
    ),
    username: optional(text(), "rack-7", "User name at the broker."),
    password_file: optional(secretFile, "/etc/ironrack/mqtt-password", "File with the password at the broker."),
    client_id: optional(
      identifier,
      "ironrack-site-rack",
      "Client identifier; without it, ironrack-SITE-RACK. No two appliances may share one.",
    ),
    keepalive: defaulted(duration(5, 300), 30, "Silence after which the connection is tested."),
    ca_file: optional(
      absolutePath,
      "/etc/ironrack/ca.pem",
      "PEM file with the authorities that may have signed the broker's certificate; without it, the system's.",
    ),
    cert_file: optional(
      absolutePath,
      "/etc/ironrack/cert.pem",
      "PEM file with this appliance's certificate for the broker.",
    ),
    key_file: optional(absolutePath, "/etc/ironrack/key.pem", "PEM file with the key of cert_file."),
  }),
  image: section("Images that are written to machines.", {
    cache_dir: optional(
      absolutePath,
      "/var/lib/ironrack/images",
      "Directory of the image cache; without it, images in state_dir.",
    ),
    cache_size: defaulted(
      mebibytes(64, 1_048_576_000),
      20_480,
      "The most that the cache keeps; images in use may exceed it.",
    ),
    file_dirs: defaulted(
      list(absolutePath),
      ["/srv/ironrack/images"],
      "Directories from which image_source may name a file.",
    ),
    stream_downloads: defaulted(
      flag,
      true,
      "Whether a machine is booted while its image is still being downloaded, and the image written to its disk as it comes; its checksum is then known, and the deployment failed if it is wrong, after the disk was written. A rebuild always waits for the whole image.",
    ),
    ca_file: optional(
      absolutePath,
      "/etc/ironrack/image-ca.pem",
      "PEM file with the authorities that may have signed an image server's certificate; without it, the system's.",
    ),
  }),
  conductor: section("Work on nodes.", {
    deploy_callback_timeout: defaulted(
      duration(10, 86_400),
      1800,
      "How long a deployment waits for the ramdisk's agent.",
    ),
    clean_callback_timeout: defaulted(duration(10, 86_400), 1800, "How long cleaning waits for the ramdisk's agent."),
    inspect_callback_timeout: defaulted(
      duration(10, 86_400),
      1800,
      "How long inspection waits for the ramdisk's report.",
    ),
    heartbeat_timeout: defaulted(duration(5, 3600), 60, "Told to agents, which report at 0.3 to 0.6 of it."),
    power_change_timeout: defaulted(
      duration(5, 3600),
      60,
      "How long a machine may take to show the power state that was asked for.",
    ),
    soft_power_off_timeout: defaulted(duration(5, 7200), 600, "How long a machine may take to shut down by itself."),
    power_sync_interval: defaulted(
      duration(0, 86_400),
      120,
      "Pause between two readings of every node's power state; 0: never.",
    ),
    power_sync_workers: defaulted(integer(1, 64), 8, "BMCs that are read at the same time."),
    lock_wait: defaulted(
      duration(0, 60),
      3,
      "How long a caller waits for a node that is being worked on before it is told that the node is busy.",
    ),
    automated_clean: defaulted(flag, true, "Whether disks are cleaned before a node becomes available."),
    fast_track: defaulted(flag, false, "Whether a machine whose agent still runs is used without booting it again."),
    fast_track_timeout: defaulted(
      duration(5, 3600),
      300,
      "Age of the last heartbeat up to which an agent is taken to run.",
    ),
    power_off_after_deploy_failure: defaulted(
      flag,
      true,
      "Whether a machine is powered off when its deployment failed.",
    ),
  }),
  deploy: section("How disks are cleaned and written.", {
    hole_policy: defaulted(
      oneOf("discard", "write-zeroes", "disk-is-blank"),
      "discard",
      "What is done where the image has a hole: discard where the disk then reads zeroes, else write zeroes; always write zeroes; or leave the disk as it is, which is known to read zeroes.",
    ),
    verify: defaulted(
      oneOf("none", "read-back"),
      "none",
      "Whether what was written is read back from the disk and compared.",
    ),
    erase_devices_metadata_priority: optional(
      integer(0, 1000),
      99,
      "Priority of the clean step that erases partition tables and signatures, 0: not run; without it, the agent's own (99).",
    ),
    erase_devices_priority: optional(
      integer(0, 1000),
      0,
      "Priority of the clean step that erases whole disks, 0: not run; without it, the agent's own (10).",
    ),
  }),
  iscsi: section("The initiator that writes images.", {
    initiator_iqn: defaulted(
      text(/^iqn\.[0-9]{4}-[0-9]{2}\.[a-z0-9.-]+(:[a-z0-9.:-]+)?$/, "an iSCSI qualified name"),
      "iqn.2026-01.org.ironrack:appliance",
      "Name under which the appliance logs in to the machines' targets.",
    ),
  }),
} as const;

export type ConfigTable = typeof configTable;
