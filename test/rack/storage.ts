import { SystemClock } from "../../src/core/clock.ts";
import { millis } from "../../src/core/units.ts";
import type { Credentials } from "../../src/domain/volume.ts";
import type { Child, Outcome } from "./child.ts";

/** A disk that one machine alone may log in to. */
export interface Volume {
  readonly iqn: string;
  readonly initiator: string;
  readonly file: string;
}

const clock = new SystemClock();
const TRIES = 300;

/** A storage system: tgtd, with each volume as LUN 1 of a target of its own, behind mutual CHAP. */
export async function openStorage(options: {
  readonly portal: string;
  readonly volumes: readonly Volume[];
  readonly login: Credentials;
  /** What the storage system answers with. */
  readonly reverse: Credentials;
  readonly spawn: (argv: readonly string[]) => Child;
  readonly run: (argv: readonly string[]) => Promise<Outcome>;
}): Promise<AsyncDisposable> {
  const { login, reverse } = options;
  // Names its control socket, for all tgtds of the machine: below 32768.
  const control = String(20_000 + (process.pid % 10_000));
  const daemon = options.spawn(["tgtd", "-f", "--iscsi", `portal=${options.portal}`, "-C", control]);
  const admin = async (words: string): Promise<unknown> =>
    await options.run(["tgtadm", "-C", control, "--lld", "iscsi", ...words.split(" ")]);
  for (let attempt = 1; ; attempt += 1) {
    try {
      await admin("--op show --mode system");
      break;
    } catch (error) {
      if (attempt === TRIES || !daemon.isRunning) throw error;
      await clock.sleep(millis(100));
    }
  }
  for (const { username, password } of [login, reverse])
    await admin(`--op new --mode account --user ${username} --password ${password}`);
  for (const [at, { iqn, initiator, file }] of options.volumes.entries()) {
    const target = `--tid ${at + 1}`;
    await admin(`--op new --mode target ${target} -T ${iqn}`);
    await admin(`--op new --mode logicalunit ${target} --lun 1 -b ${file}`);
    await admin(`--op bind --mode account ${target} --user ${login.username}`);
    await admin(`--op bind --mode account ${target} --user ${reverse.username} --outgoing`);
    await admin(`--op bind --mode target ${target} -Q ${initiator}`);
  }
  return {
    [Symbol.asyncDispose]: async () => {
      await daemon.kill("SIGKILL"); // it ignores SIGTERM while it has targets
      await daemon.ended;
    },
  };
}
