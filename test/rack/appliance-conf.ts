import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RACK_ACCOUNT } from "./virtual-rack.ts";
import { PROVISIONING, WAN } from "./network.ts";

export interface ApplianceOptions {
  /** Where appliance.conf, the state and the socket go. */
  readonly directory: string;
  readonly site: string;
  readonly rack: string;
  readonly kernel: string;
  readonly initrd: string;
  /** Directories from which images may be deployed. */
  readonly imageDirectories: readonly string[];
  /** Keys that differ: section, key, TOML value. */
  readonly overrides?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** Paths of an appliance that was configured for the virtual rack. */
export interface ApplianceFiles {
  readonly config: string;
  readonly socket: string;
  readonly stateDirectory: string;
}

type Sections = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** Writes the appliance.conf of the virtual rack's appliance. */
export function writeApplianceConf(options: ApplianceOptions): ApplianceFiles {
  const { directory } = options;
  mkdirSync(directory, { recursive: true });
  const passwordFile = join(directory, "mqtt.password");
  writeFileSync(passwordFile, `${RACK_ACCOUNT.password}\n`, { mode: 0o600 });
  const files: ApplianceFiles = {
    config: join(directory, "appliance.conf"),
    socket: join(directory, "control.sock"),
    stateDirectory: join(directory, "state"),
  };
  mkdirSync(files.stateDirectory, { recursive: true, mode: 0o700 });
  writeFileSync(files.config, toml(mergeSections(sections(options, files, passwordFile), options.overrides ?? {})));
  return files;
}

function sections(options: ApplianceOptions, files: ApplianceFiles, passwordFile: string): Sections {
  const quote = (text: string): string => JSON.stringify(text);
  return {
    appliance: {
      name: quote("appliance"),
      site: quote(options.site),
      rack: quote(options.rack),
      state_dir: quote(files.stateDirectory),
      log_level: quote("debug"),
    },
    boot: {
      interface: quote(PROVISIONING.interface),
      address: quote(`${PROVISIONING.address}/${PROVISIONING.prefix}`),
      kernel: quote(options.kernel),
      initrd: quote(options.initrd),
      // An emulated timer may be late on a busy host, which Linux takes for broken hardware, and panics.
      kernel_arguments: quote("no_timer_check"),
    },
    dhcp: { pool_start: quote(PROVISIONING.firstLease), pool_end: quote(PROVISIONING.lastLease) },
    control: { socket: quote(files.socket) },
    mqtt: {
      enabled: "true",
      url: quote(`mqtt://${WAN.siteAddress}:1883`),
      username: quote(RACK_ACCOUNT.username),
      password_file: quote(passwordFile),
      keepalive: "10",
    },
    image: { file_dirs: JSON.stringify([...new Set(options.imageDirectories)]) },
    conductor: { heartbeat_timeout: "30", power_sync_interval: "30" },
    // Erasing whole disks is for disks that held something; here it would only fill files with zeroes.
    deploy: { erase_devices_priority: "0" },
  };
}

function mergeSections(base: Sections, over: Sections): Sections {
  const names = [...new Set([...Object.keys(base), ...Object.keys(over)])];
  return Object.fromEntries(names.map((name) => [name, { ...base[name], ...over[name] }]));
}

/** TOML of sections whose values are TOML already. */
export function toml(sections: Sections): string {
  return Object.entries(sections)
    .map(
      ([name, keys]) =>
        `[${name}]\n${Object.entries(keys)
          .map(([key, value]) => `${key} = ${value}\n`)
          .join("")}`,
    )
    .join("\n");
}
