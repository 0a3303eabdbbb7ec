import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Scope } from "../../src/core/scope.ts";
import { type ApplianceFiles, type ApplianceOptions, writeApplianceConf } from "./appliance-conf.ts";
import { Daemon } from "./daemon.ts";
import { type DemoImage, findImage, findRamdisk } from "./demo-files.ts";
import { SiteCli } from "./site-cli.ts";
import { openRack, type RackOptions, SITE_ACCOUNT, type VirtualRack } from "./virtual-rack.ts";

export interface LabOptions extends RackOptions {
  /** Keys of appliance.conf that differ from the rack's own. */
  readonly overrides?: ApplianceOptions["overrides"];
}

/** A rack with its appliance and with what the site needs to lead it. */
export interface Lab extends AsyncDisposable {
  readonly rack: VirtualRack;
  /** Not yet started. */
  readonly daemon: Daemon;
  readonly files: ApplianceFiles;
  readonly cli: SiteCli;
  readonly image: DemoImage;
  /** A key pair for deployed machines: the private key's file, and the public key as text. */
  readonly keyFile: string;
  readonly publicKey: string;
}

const SITE_NAME = "lab";
const RACK_NAME = "demo";

/** Builds the rack and configures ironrackd for it; the ramdisk and the image are those that test/setup.sh built. */
export async function openLab(options: LabOptions): Promise<Lab> {
  const ramdisk = findRamdisk();
  const image = await findImage();
  const scope = new Scope();
  try {
    const rack = scope.use(await openRack(options));
    const files = writeApplianceConf({
      directory: rack.directory,
      site: SITE_NAME,
      rack: RACK_NAME,
      ...ramdisk,
      imageDirectories: [dirname(image.path), rack.directory],
      ...(options.overrides === undefined ? {} : { overrides: options.overrides }),
    });
    const daemon = scope.use(new Daemon({ rack, config: files.config }));
    const cli = new SiteCli({ rack, account: SITE_ACCOUNT, siteName: SITE_NAME, rackName: RACK_NAME });
    const keyFile = join(rack.directory, "demo.key");
    await rack.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f", keyFile]);
    const publicKey = readFileSync(`${keyFile}.pub`, "utf8").trim();
    return { rack, daemon, files, cli, image, keyFile, publicKey, [Symbol.asyncDispose]: () => scope.close() };
  } catch (error) {
    await scope.close();
    throw error;
  }
}
