import { invalid } from "../core/fault.ts";
import { isBootUrl, networkInstance } from "../domain/network-instance.ts";
import { type AgentCleanOptions, agentCleanSteps, runInBandStep } from "./agent-clean.ts";
import type { Step, StepInterface, Task } from "./interfaces.ts";
import { startOverNetwork } from "./storage.ts";

export interface RamdiskDeployOptions extends AgentCleanOptions {
  /** Whether this path of the appliance may be given to machines. */
  readonly isServed: (path: string) => boolean;
}

/**
 * An instance that runs from memory: the machine boots `boot_iso`, or `kernel` and `ramdisk`, of instance_info, now and
 * whenever it is started; its disks are left as they are. Ironic's name: `ramdisk`.
 */
export function ramdiskDeploy(options: RamdiskDeployOptions): StepInterface {
  const common = { abortable: true, repeatable: true };
  const steps: readonly Step[] = [
    {
      ...common,
      step: "deploy",
      kinds: ["deploy"],
      priority: 100,
      run: async ({ machine }) => {
        await startOverNetwork(machine);
        return { kind: "done" };
      },
    },
    {
      ...common,
      step: "tear_down",
      kinds: ["delete"],
      priority: 100,
      abortable: false,
      run: async ({ machine }) => {
        await machine.setBootTarget("none");
        await machine.power("power off");
        return { kind: "done" };
      },
    },
    ...agentCleanSteps(options),
  ];
  return {
    validate(task: Task, kind): void {
      if (kind === "deploy") validateInstance(task, options.isServed);
    },
    steps,
    runInBand: (planned, kind, context) => runInBandStep(planned, kind, context, options.connect),
  };
}

function validateInstance({ node }: Task, isServed: (path: string) => boolean): void {
  const instance = networkInstance(node);
  switch (instance?.kind) {
    case undefined:
      throw invalid("instance_info.boot_iso", "is missing; give the URL or path of an ISO, or a kernel");
    case "iso":
      if (!isBootUrl(instance.source) && !isServed(instance.source)) {
        throw invalid(
          "instance_info.boot_iso",
          `"${instance.source}" is neither an http: URL nor a file in image.file_dirs`,
        );
      }
      return;
    case "linux":
      for (const [field, url] of [
        ["kernel", instance.kernel],
        ["ramdisk", instance.initrd],
      ] as const) {
        if (url !== null && !isBootUrl(url)) throw invalid(`instance_info.${field}`, `"${url}" is not an http: URL`);
      }
  }
}
