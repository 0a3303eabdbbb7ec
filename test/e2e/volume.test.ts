import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { unpackedPackage } from "../peer/unpacked-package.ts";
import { BUILD } from "../rack/daemon.ts";
import { type Lab, openLab } from "../rack/lab.ts";
import { PROVISIONING } from "../rack/network.ts";
import { openStorage } from "../rack/storage.ts";
import { clock, Lead, PATIENCE } from "./lead.ts";

const INITIATOR = "iqn.2026-01.org.example:";
const VOLUME = "iqn.2026-01.org.example:volume-of-";
const CHAP = {
  auth_method: "CHAP",
  auth_username: "the-machine",
  auth_password: "Correct-horse.7",
  auth_reverse_username: "the-storage",
  auth_reverse_password: "Battery-staple.7",
};

/*
 * The storage system is tgtd beside the appliance, with a volume for each machine on which the rack's Debian is installed. The
 * machines have disks of their own too, which stay blank.
 */
test("machines with BIOS and with UEFI are deployed on iSCSI volumes, with mutual CHAP, and run their systems from there", async () => {
  const directory = mkdtempSync(join(tmpdir(), "ironrack-volume-"));
  await deployOnVolumes(directory);
  rmSync(directory, { recursive: true, force: true }); // where it failed, the logs are kept
});

async function deployOnVolumes(directory: string): Promise<void> {
  await using lab = await openLab({
    directory,
    machines: [
      { name: "bios-1", firmware: "bios" },
      { name: "uefi-1", firmware: "uefi" },
    ],
    overrides: { conductor: { automated_clean: "false" } },
  });
  const leads = lab.rack.machines.map((subject) => new Lead(lab, subject));
  await using _storage = await storage(lab, leads);
  await lab.daemon.start();
  using deadline = clock.deadline(PATIENCE);
  await Promise.all(
    leads.map(async (lead) => {
      const { name } = lead;
      const told = (noun: string, ...options: string[]): Promise<unknown> =>
        lab.cli.run(["volume", noun, "create", "--node", name, ...options]);
      await lead.enroll({ set: ["--boot-mode", lead.subject.machine.firmware, "--storage-interface", "external"] });
      await told("connector", "--connector-id", INITIATOR + name);
      const properties = { target_portal: PROVISIONING.address, target_iqn: VOLUME + name, target_lun: 1, ...CHAP };
      const pairs = Object.entries(properties).flatMap(([key, value]) => ["--property", `${key}=${value}`]);
      await told("target", "--volume-id", `of-${name}`, ...pairs);
      for (const verb of ["manage", "provide", "deploy"])
        await lab.cli.run(["node", verb, name, "--wait", "--timeout", "300"]);
      assert.equal(await lead.state(), "active");
      // A service of the installed system, which looks for the config drive that such an instance does not have.
      await lead.subject.machine.waitForConsole(/config-drive\[\d+\]: config drive: none/, deadline);
      await lab.cli.run(["node", "undeploy", name, "--wait", "--timeout", "300"]);
      assert.equal((await lead.node())["power_state"], "power off");
      assert.equal(lead.subject.machine.diskUsage(), 0, "its own disk is as it was");
    }),
  );
  for (const secret of [CHAP.auth_password, CHAP.auth_reverse_password]) assert.ok(!lab.daemon.log().includes(secret));
}

async function storage(lab: Lab, leads: readonly Lead[]): Promise<AsyncDisposable> {
  const { rack } = lab;
  const tools = join(rack.directory, "open-iscsi");
  for (const name of ["open-iscsi", "libopeniscsiusr"]) cpSync(unpackedPackage(name), tools, { recursive: true });
  const build = resolve(BUILD, "../test/rack/volume/build.sh");
  const volumes = await Promise.all(
    leads.map(async ({ name }) => {
      const file = join(rack.directory, `${name}.volume`);
      await rack.run(["bash", build, lab.image.path, file, tools]);
      return { iqn: VOLUME + name, initiator: INITIATOR + name, file };
    }),
  );
  return await openStorage({
    portal: `${PROVISIONING.address}:3260`,
    volumes,
    login: { username: CHAP.auth_username, password: CHAP.auth_password },
    reverse: { username: CHAP.auth_reverse_username, password: CHAP.auth_reverse_password },
    spawn: (argv) => rack.spawn(argv, { logFile: join(rack.directory, "tgtd.log") }),
    run: async (argv) => await rack.run(argv),
  });
}
