import { toFault } from "../core/fault.ts";
import { numberProperty, objectProperty, stringProperty, type JsonObject } from "../core/json.ts";
import type { NativeDownload } from "../core/native-addon.ts";
import { millis, type Millis } from "../core/units.ts";
import type { StreamedFormat } from "../domain/image-format.ts";
import type { Node } from "../domain/node.ts";
import type { PlannedStep, StepKind } from "../domain/operation.ts";
import { checkConfigDrive } from "../image/config-drive.ts";
import type { WriteOptions, Written } from "../image/shared-streams.ts";
import type { Checkpoint, HolePolicy, IscsiTarget, StreamContent } from "../image/stream.ts";
import { agentOf, type Agent, type AgentConnector } from "./agent.ts";
import { agentCleanSteps, bootAgent, machineArguments, runInBandStep } from "./agent-clean.ts";
import { type InstanceImage, instanceImage } from "./instance-image.ts";
import type { CallOptions, Step, StepContext, StepInterface, StepOutcome, Task } from "./interfaces.ts";
import { rootDeviceHints } from "./root-device.ts";
import { bootsFromVolume, startOverNetwork } from "./storage.ts";

const AGENT_TIMEOUT = millis(120_000);
const BOOT_LOADER_TIMEOUT = millis(300_000);
/** How often a stream is begun anew when the connection to the machine died. */
const STREAM_ATTEMPTS = 3;
const RETRY_PAUSE = millis(2_000);

/** A local copy of an image, held until disposed of. */
export interface HeldImage extends Disposable {
  readonly path: string;
  /** It still arrives. */
  readonly download?: NativeDownload | undefined;
  /** What the file is, which may be another format than the image was given in. */
  readonly format: StreamedFormat;
  /** Of the file. */
  readonly checksum?: InstanceImage["checksum"] | undefined;
}

export interface IscsiDeployOptions {
  readonly connect: AgentConnector;
  readonly callbackTimeout: Millis;
  readonly cleanCallbackTimeout: Millis;
  readonly cleanPriorities: Readonly<Record<string, number>>;
  readonly policy: HolePolicy;
  readonly verify: StreamContent["verify"];
  readonly initiatorIqn: string;
  /** Whether machines boot while their image is still being downloaded. */
  readonly streamDownloads: boolean;
  /** Brings an image to the local disk, checks its checksum and makes it one that can be streamed; with `early`, begins to. */
  readonly fetchImage: (
    image: InstanceImage,
    options: CallOptions & {
      readonly onProgress: (bytes: number, total: number) => void;
      readonly early: "begin" | "continue" | undefined;
    },
  ) => Promise<HeldImage>;
  /** The config drive for the agent: base64 of a gzipped ISO 9660. */
  readonly buildConfigDrive: (
    configdrive: string,
    options: CallOptions & Pick<Node, "uuid" | "name">,
  ) => Promise<string>;
  /** Writes an image onto one disk, together with others that want the same. */
  readonly write: (content: StreamContent, target: IscsiTarget, options: WriteOptions) => Promise<Written>;
}

/**
 * Deploy by publishing the machine's disk as an iSCSI target and streaming the image to it. Steps and priorities are those
 * of Ironic's direct deploy; the name is that of its former iSCSI deploy.
 */
export function iscsiDeploy(options: IscsiDeployOptions): StepInterface {
  /** Left out for an instance that lives on a volume. */
  const deployStep = (step: string, priority: number, run: Step["run"]): Step => ({
    step,
    kinds: ["deploy"],
    priority,
    abortable: true,
    repeatable: true,
    when: (task) => !bootsFromVolume(task),
    run,
  });
  return {
    validate(task: Task, kind: StepKind): void {
      if (kind !== "deploy" || bootsFromVolume(task)) return;
      instanceImage(task.node.instanceInfo);
      const configdrive = stringProperty(task.node.instanceInfo, "configdrive");
      if (configdrive !== undefined) checkConfigDrive(configdrive);
    },
    steps: [
      deployStep("fetch_image", 110, async (context) => {
        // Before the machine is touched: an image that is not there or not the right one changes nothing.
        using _image = await fetchImage(context, options, "begin");
        return { kind: "done" };
      }),
      deployStep("deploy", 100, (context) => bootAgent(context, options.callbackTimeout)),
      deployStep("write_image", 80, (context) => writeImage(context, options)),
      deployStep("write_configdrive", 70, (context) => writeConfigDrive(context, options)),
      deployStep("prepare_instance_boot", 60, (context) => prepareInstanceBoot(context, options)),
      deployStep("tear_down_agent", 40, (context) => tearDownAgent(context, options)),
      deployStep("boot_instance", 20, async ({ machine }) => {
        await machine.power("power on");
        return { kind: "done" };
      }),
      {
        ...deployStep("start_from_volume", 100, async ({ machine }) => {
          await startOverNetwork(machine);
          return { kind: "done" };
        }),
        when: bootsFromVolume,
      },
      {
        step: "tear_down",
        kinds: ["delete"],
        priority: 100,
        abortable: false,
        repeatable: true,
        run: async ({ machine }) => {
          await machine.setBootTarget("none");
          await machine.power("power off");
          return { kind: "done" };
        },
      },
      ...agentCleanSteps({
        connect: options.connect,
        callbackTimeout: options.cleanCallbackTimeout,
        priorities: options.cleanPriorities,
      }),
    ],
    runInBand: (planned: PlannedStep, kind: StepKind, context: StepContext) =>
      runInBandStep(planned, kind, context, options.connect),
  };
}

async function fetchImage(
  context: StepContext,
  options: IscsiDeployOptions,
  early: "begin" | "continue",
): Promise<HeldImage> {
  const { node, machine, signal, log } = context;
  // What a rebuild would overwrite is somebody's, and stays until the image is known to be right.
  const whole = !options.streamDownloads || node.operation?.verb === "rebuild";
  return await options.fetchImage(instanceImage(node.instanceInfo), {
    signal,
    log,
    early: whole ? undefined : early,
    onProgress: (bytes, total) => {
      if (total > 0) machine.report({ bytes, total });
    },
  });
}

async function writeImage(context: StepContext, options: IscsiDeployOptions): Promise<StepOutcome> {
  const { node, machine, signal, log } = context;
  const wanted = instanceImage(node.instanceInfo);
  const agent = agentOf(node, options.connect);
  const iqn = `iqn.2026-01.org.ironrack:${node.uuid}`;
  let kept = context.kept;
  for (let attempt = 1; ; attempt += 1) {
    const chap = { username: `ironrack-${context.random.token(6)}`, password: context.random.token(24) };
    const { device, ...target } = await publish(agent, context, iqn, chap);
    const resume = checkpointOf(kept, device);
    let reached = 0;
    try {
      using image = await fetchImage(context, options, "continue");
      const content: StreamContent = {
        source: {
          path: image.path,
          download: image.download,
          format: image.format,
          ...(image.checksum === undefined ? {} : { checksum: image.checksum }),
        },
        policy: options.policy,
        verify: options.verify,
      };
      const written = await options.write(
        content,
        {
          address: portalAddress(node.agent?.callbackUrl ?? ""),
          ...target,
          iqn,
          initiatorIqn: options.initiatorIqn,
          chap,
          checkpoints: true,
          ...(resume === undefined ? {} : { resume }),
        },
        {
          signal,
          onProgress: (progress, total) => {
            reached = progress.written + progress.skipped + progress.resumed;
            machine.report({ bytes: reached, total });
          },
          onCheckpoint: (checkpoint) => {
            if (kept === null) log.info("image.checkpoint", { source: wanted.source });
            kept = { device, checkpoint };
            machine.keep(kept, reached);
          },
        },
      );
      reportResult(written, context, wanted.source);
      break;
    } catch (error) {
      const fault = toFault(error);
      if (fault.retry === "never" || attempt >= STREAM_ATTEMPTS) throw error;
      log.warn("image.stream", { code: fault.code, reason: fault.message, attempt });
    }
    await context.clock.sleep(RETRY_PAUSE, signal);
  }
  await agent.run("iscsi.stop_iscsi_target", { iqn }, { signal, log, timeout: AGENT_TIMEOUT });
  return { kind: "done" };
}

/** How far an earlier attempt came, when it wrote the same disk. */
function checkpointOf(kept: JsonObject | null, device: string): Checkpoint | undefined {
  if (kept === null || stringProperty(kept, "device") !== device) return undefined;
  return objectProperty(kept, "checkpoint");
}

function reportResult(written: Written, { machine, log }: StepContext, source: string): void {
  const total = written.bytes + written.skipped + written.resumed;
  machine.report({ bytes: total, total, resumed: written.resumed });
  log.info("image.stream", {
    source,
    bytes: written.bytes,
    skipped: written.skipped,
    resumed: written.resumed,
    ...(written.resumeRefused === "" ? {} : { resume_refused: written.resumeRefused }),
    joined: written.joined,
    elapsed_ms: Math.round(written.seconds * 1000),
    digest: written.digest,
  });
}

async function publish(
  agent: Agent,
  context: StepContext,
  iqn: string,
  chap: { username: string; password: string },
): Promise<{ port: number; lun: number; device: string }> {
  const hints = rootDeviceHints(context.node);
  const params: JsonObject = {
    iqn,
    portal_port: 3260,
    wipe_disk_metadata: false,
    chap,
    ...(hints === undefined ? {} : { root_device: hints }),
  };
  const result = await agent.run("iscsi.start_iscsi_target", params, {
    signal: context.signal,
    log: context.log,
    timeout: AGENT_TIMEOUT,
  });
  return {
    port: numberProperty(result, "portal_port") ?? 3260,
    lun: numberProperty(result, "lun") ?? 1,
    device: stringProperty(result, "device") ?? "",
  };
}

/** The target listens where the agent does. */
function portalAddress(callbackUrl: string): string {
  return new URL(callbackUrl).hostname.replace(/^\[|\]$/g, "");
}

async function writeConfigDrive(context: StepContext, options: IscsiDeployOptions): Promise<StepOutcome> {
  const configdrive = stringProperty(context.node.instanceInfo, "configdrive");
  if (configdrive === undefined) return { kind: "done" };
  const { signal, log } = context;
  const content = await options.buildConfigDrive(configdrive, {
    signal,
    log,
    uuid: context.node.uuid,
    name: context.node.name,
  });
  const hints = rootDeviceHints(context.node);
  await agentOf(context.node, options.connect).run(
    "deploy.execute_deploy_step",
    {
      step: {
        interface: "deploy",
        step: "write_configdrive",
        priority: 70,
        args: { configdrive: content, ...(hints === undefined ? {} : { root_device: hints }) },
      },
      ...machineArguments(context),
      deploy_version: {},
    },
    { signal, log, timeout: AGENT_TIMEOUT },
  );
  return { kind: "done" };
}

async function prepareInstanceBoot(context: StepContext, options: IscsiDeployOptions): Promise<StepOutcome> {
  const { node, machine, signal, log } = context;
  const hints = rootDeviceHints(node);
  await agentOf(node, options.connect).run(
    "image.install_bootloader",
    {
      root_uuid: null,
      target_boot_mode: node.bootMode ?? "uefi",
      ...(hints === undefined ? {} : { root_device: hints }),
    },
    { signal, log, timeout: BOOT_LOADER_TIMEOUT },
  );
  await machine.prepareInstanceBoot();
  return { kind: "done" };
}

async function tearDownAgent(context: StepContext, options: IscsiDeployOptions): Promise<StepOutcome> {
  const { node, machine, signal, log } = context;
  if (node.agent?.callbackUrl != null) {
    await agentOf(node, options.connect).run("standby.sync", {}, { signal, log, timeout: AGENT_TIMEOUT });
  }
  await machine.power("power off");
  return { kind: "done" };
}
