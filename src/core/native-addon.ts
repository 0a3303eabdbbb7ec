import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { Fault, type FaultDetail, type FaultKind, type Retry } from "./fault.ts";

/** Where `bash native/build.sh` puts the addon, seen from build/src/core. */
const ADDON_PATH = fileURLToPath(new URL("../../native/ironrack.node", import.meta.url));

export interface UdpBinding {
  /** One interface: packets of others are not received, and all leave through it. */
  readonly interface: string;
  /** "0.0.0.0" also receives broadcasts. */
  readonly address: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly broadcast: boolean;
}

/**
 * A socket with slabs of 64 slots for what was received (9216 bytes each) and what is to be sent (1536). A row of a table:
 * length, address, port. Its descriptor is its own from the first, and closed with it.
 */
export interface NativeDatagramBatch {
  /** Slot after slot. */
  readonly received: Uint8Array;
  /** A length of 0 also means: longer than a slot. */
  readonly receivedRows: Uint32Array;
  readonly toSend: Uint8Array;
  /** After `send`, the errno instead of the length; 0: sent. */
  readonly toSendRows: Uint32Array;
  /** Whether `onReadable` is called. */
  watch(on: boolean): void;
  /** How many datagrams were there; they stand in the slab until the next call. */
  receive(): number;
  /** Sends the first rows; how many of them failed. */
  send(count: number): number;
  /** How many datagrams the kernel has dropped for want of room. */
  dropped(): number;
  /** Idempotent; everything else then does nothing. */
  close(): void;
}

export interface FileLock {
  /** Idempotent. The lock also ends with the process, however that ends. */
  release(): void;
}

export interface PeerHardwareAddress {
  readonly interface: string;
  readonly address: string;
  /** "52:54:00:12:34:56" */
  readonly hardwareAddress: string;
}

export interface NativeFault {
  readonly kind: FaultKind;
  readonly code: string;
  readonly message: string;
  readonly retry: Retry;
  readonly detail: FaultDetail;
}

/** Work on a thread of the addon's own; it ends with a call of `onEnd`, also after a cancel. */
export interface NativeJob {
  cancel(): void;
}

export interface NativeStream extends NativeJob {
  /** The target's place, or undefined when the stream takes no more. */
  add(target: unknown): number | undefined;
  drop(place: number): void;
}

export interface NativeJobNews {
  readonly onProgress: (progress: unknown) => void;
  readonly onEnd: (fault: NativeFault | null, outcome: unknown) => void;
}

/** A file that is being downloaded, of which only the addon knows more; given to a stream, it is streamed while it arrives. */
export type NativeDownload = { readonly nativeDownload: unique symbol };

/** How every job is begun: what is asked for, and who hears of it. */
type StartJob<Job extends NativeJob = NativeJob> = (
  request: unknown,
  onProgress: NativeJobNews["onProgress"],
  onEnd: NativeJobNews["onEnd"],
) => Job;

/** One of the addon's senders: requests and outcomes bear an id, which is the caller's to choose. */
export interface NativeSenderHandle<Request, Outcome> {
  /** The outcome, if it is there at once. */
  start(request: Request): Outcome | undefined;
  /** Its outcome says so. */
  cancel(id: number): void;
  /** Ends everything and the thread; all other outcomes are given before it returns. */
  close(): void;
}

interface NativeAddon {
  bindUdpToInterface(binding: UdpBinding): number;
  openDatagramBatch(descriptor: number, onReadable: () => void): NativeDatagramBatch;
  sdNotify(state: string): boolean;
  lockFile(path: string): FileLock | false;
  setPeerHardwareAddress(peer: PeerHardwareAddress): void;
  readonly startStream: StartJob<NativeStream>;
  readonly startFileDigest: StartJob;
  readonly startConvertibleCheck: StartJob;
  openTftpSender<Request, Outcome>(onOutcome: (outcome: Outcome) => void): NativeSenderHandle<Request, Outcome>;
  openFileSender<Request, Outcome>(onOutcome: (outcome: Outcome) => void): NativeSenderHandle<Request, Outcome>;
  openDownload(file: {
    readonly path: string;
    readonly checksum: { readonly algorithm: string; readonly value: string } | undefined;
    /** So many bytes of the file are there, of so many. */
    readonly begun: { readonly bytes: number; readonly total: number } | undefined;
  }): { readonly download: NativeDownload } | { readonly fault: NativeFault };
  readonly startDownload: StartJob;
  /** Nothing more will come: streams that read the file while it arrives end with the reason. */
  abandonDownload(download: NativeDownload, reason: string): void;
  /** Closes the file, once no attempt runs and no stream will be begun from it; those that run go on. */
  closeDownload(download: NativeDownload): void;
}

/** A fault that the addon tells of. */
export function nativeFault(fault: NativeFault): Fault {
  return new Fault(fault.kind, fault.code, fault.message, { retry: fault.retry, detail: fault.detail });
}

let loaded: NativeAddon | undefined;

/** The addon, loaded when first asked for, so that programs which need none of it run without it. */
export function nativeAddon(): NativeAddon {
  if (loaded !== undefined) return loaded;
  try {
    loaded = createRequire(import.meta.url)(ADDON_PATH) as NativeAddon;
  } catch (error) {
    throw new Fault(
      "unsupported",
      "addon.missing",
      `the native addon cannot be loaded: build it with "bash native/build.sh"`,
      {
        detail: { path: ADDON_PATH },
        cause: error,
      },
    );
  }
  return loaded;
}

const KIND_OF_ERROR: Readonly<Record<string, FaultKind>> = {
  EACCES: "refused",
  EPERM: "refused",
  EADDRINUSE: "conflict",
  EADDRNOTAVAIL: "not-found",
  ENODEV: "not-found",
  ENXIO: "not-found",
  ENOENT: "not-found",
  EINVAL: "invalid",
};

/** Runs a call of the addon; the system's error becomes a fault that names the call. */
function asFault<T>(what: string, detail: FaultDetail, call: (addon: NativeAddon) => T): T {
  const addon = nativeAddon();
  try {
    return call(addon);
  } catch (error) {
    if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "string") throw error;
    throw new Fault(KIND_OF_ERROR[error.code] ?? "internal", `system.${error.code}`, `${what}: ${error.message}`, {
      detail,
      cause: error,
    });
  }
}

/**
 * A bound UDP socket on one interface, as a descriptor for `dgram`'s `bind({ fd })`, which then owns it.
 * @throws Fault refused (no privilege), not-found (interface, address), conflict (port taken)
 */
export function bindUdpToInterface(binding: UdpBinding): number {
  return asFault(`cannot bind UDP port ${binding.port} on ${binding.interface}`, { ...binding }, (addon) =>
    addon.bindUdpToInterface(binding),
  );
}

/** Takes over a bound IPv4 UDP socket. @throws Fault invalid when the descriptor is none */
export function openDatagramBatch(descriptor: number, onReadable: () => void): NativeDatagramBatch {
  return asFault(`cannot serve the descriptor ${descriptor}`, { descriptor }, (addon) =>
    addon.openDatagramBatch(descriptor, onReadable),
  );
}

/** Tells the service manager, sd_notify(3); false when there is none. */
export function sdNotify(state: string): boolean {
  return asFault("cannot notify the service manager", {}, (addon) => addon.sdNotify(state));
}

/** Takes the lock that the file stands for, which must serve as nothing else; false when another holds it. */
export function lockFile(path: string): FileLock | false {
  return asFault(`cannot lock ${path}`, { path }, (addon) => addon.lockFile(path));
}

/** Makes the kernel send to that hardware address without asking by ARP. Needs CAP_NET_ADMIN. */
export function setPeerHardwareAddress(peer: PeerHardwareAddress): void {
  asFault(`cannot set the neighbour ${peer.address}`, { ...peer }, (addon) => addon.setPeerHardwareAddress(peer));
}
