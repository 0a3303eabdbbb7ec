import type { Millis } from "../core/units.ts";

/** What the conductor takes from the configuration. */
export interface ConductorSettings {
  /** Name of this appliance, shown as the holder of locks and in `conductor`. */
  readonly name: string;
  readonly automatedClean: boolean;
  readonly fastTrack: boolean;
  /** A heartbeat younger than this means that the agent lives. */
  readonly fastTrackTimeout: Millis;
  /** Told to agents; they report at 0.3 to 0.6 of it. */
  readonly heartbeatTimeout: Millis;
  readonly powerSyncInterval: Millis;
  /** BMCs read at the same time. */
  readonly powerSyncWorkers: number;
  /** How long a caller waits for a node's lock before it is told that the node is busy. */
  readonly lockWait: Millis;
  readonly powerOffAfterDeployFailure: boolean;
}
