import { Fault, isFault } from "../core/fault.ts";
import type { Log } from "../core/log.ts";
import type { Secret } from "../core/secret.ts";
import { millis, type Millis } from "../core/units.ts";
import { UdpSocket } from "../net/udp-socket.ts";
import type { IpmiCommand } from "../protocol/ipmi/command.ts";
import { closeSession } from "../protocol/ipmi/command/close-session.ts";
import { setSessionPrivilegeLevel } from "../protocol/ipmi/command/set-session-privilege-level.ts";
import type { RetryPlan } from "../protocol/ipmi/exchange.ts";
import { advanceCipherSuiteInquiry, beginCipherSuiteInquiry } from "../protocol/ipmi/cipher-suite-inquiry.ts";
import { advanceHandshake, beginHandshake } from "../protocol/ipmi/handshake.ts";
import { privilegeLevels, type PrivilegeLevel } from "../protocol/ipmi/privilege-level.ts";
import { advanceRequest, beginRequest, type RequestExchange } from "../protocol/ipmi/request-exchange.ts";
import type { Session } from "../protocol/ipmi/session.ts";
import { runExchange, type IpmiCounters, type IpmiParts } from "./ipmi-exchange.ts";

/** A BMC and who logs in there. */
export interface IpmiTarget {
  readonly host: string;
  readonly port: number;
  readonly username: string;
  readonly password: Secret;
  /** K_G in hexadecimal digits; absent for one-key logins. */
  readonly bmcKey: Secret | undefined;
  readonly privilege: PrivilegeLevel;
  /** Tried in this order. */
  readonly cipherSuites: readonly number[];
}

export interface IpmiWait {
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** Four packets, 8 s: a BMC that is busy with its own affairs is silent for a second or two. */
export const defaultRetries: RetryPlan = { attempts: 4, first: millis(1000), growth: 1.5 };

/** One RMCP+ session with one BMC. Not for concurrent use: `IpmiBmc` queues. */
export class IpmiSession implements AsyncDisposable {
  readonly #socket: UdpSocket;
  readonly #parts: IpmiParts;
  readonly #counters: IpmiCounters;
  #session: Session;
  #answeredAt: Millis;
  #closed = false;

  private constructor(socket: UdpSocket, parts: IpmiParts, counters: IpmiCounters, session: Session) {
    this.#socket = socket;
    this.#parts = parts;
    this.#counters = counters;
    this.#session = session;
    this.#answeredAt = parts.clock.now();
  }

  /**
   * Logs in and raises the privilege. Faults: `refused` with the code of what was wrong (`ipmi.rakp.0d` user,
   * `ipmi.rakp.0f` password, `ipmi.rakp.11` cipher suite, `ipmi.kg`, `ipmi.rakp.09`/`0a` or `ipmi.completion.80`/`81`
   * privilege), `unreachable`, `timeout`.
   */
  static async open(
    target: IpmiTarget,
    parts: IpmiParts,
    counters: IpmiCounters,
    wait: IpmiWait,
  ): Promise<IpmiSession> {
    const socket = await UdpSocket.open({ connect: { host: target.host, port: target.port } }, wait);
    try {
      const handshake = beginHandshake({
        username: Buffer.from(target.username, "utf8"),
        password: Buffer.from(target.password.reveal(), "utf8"),
        bmcKey: target.bmcKey === undefined ? undefined : Buffer.from(target.bmcKey.reveal(), "hex"),
        privilege: target.privilege,
        suites: target.cipherSuites,
        consoleSessionId: Buffer.from(parts.random.bytes(4)).readUInt32BE() | 0x01000000,
        consoleRandom: parts.random.bytes(16),
        plan: parts.retries ?? defaultRetries,
      });
      const { result } = await runExchange(socket, parts, counters, handshake, advanceHandshake, wait).catch(
        async (error: unknown) => {
          throw await withOffer(error, socket, parts, counters, wait);
        },
      );
      const session = new IpmiSession(socket, parts, counters, result);
      await session.#raisePrivilege(target.privilege, wait);
      return session;
    } catch (error) {
      await socket.close();
      throw error;
    }
  }

  /** A session that may not do what it is for is given back. */
  async #raisePrivilege(privilege: PrivilegeLevel, wait: IpmiWait): Promise<void> {
    try {
      const granted = await this.request(setSessionPrivilegeLevel, { privilege }, wait);
      if (granted.privilege >= privilegeLevels[privilege]) return;
      const sentence = `the BMC granted privilege level ${granted.privilege} instead of ${privilege}; raise the user's limit in the BMC`;
      throw new Fault("refused", "ipmi.privilege", `IPMI login refused: ${sentence}`);
    } catch (error) {
      if (isFault(error) && error.kind === "refused") await this.close();
      throw error;
    }
  }

  /** When the BMC last answered. */
  get answeredAt(): Millis {
    return this.#answeredAt;
  }

  get cipherSuite(): number {
    return this.#session.suite.id;
  }

  /** Sends a request and waits for its answer. Faults: the completion code's, `ipmi.no-answer`, `ipmi.unconfirmed`. */
  async request<Request, Response>(
    command: IpmiCommand<Request, Response>,
    request: Request,
    wait: IpmiWait,
  ): Promise<Response> {
    if (this.#closed) throw new Fault("cancelled", "ipmi.closed", "the IPMI session is closed");
    const exchange = beginRequest(this.#session, command, request, this.#parts.retries ?? defaultRetries);
    const { result } = await runExchange(
      this.#socket,
      this.#parts,
      this.#counters,
      exchange,
      advanceRequest<Response>,
      wait,
      (state) => {
        this.#session = (state as RequestExchange<Response>).session;
      },
    );
    this.#answeredAt = this.#parts.clock.now();
    return result;
  }

  /** Gives the BMC its session slot back; one packet, one second. Idempotent; never throws. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    using deadline = this.#parts.clock.deadline(millis(1000));
    try {
      const once = { attempts: 1, first: millis(1000), growth: 1 };
      const exchange = beginRequest(
        this.#session,
        closeSession,
        { managedSessionId: this.#session.managedSessionId },
        once,
      );
      await runExchange(this.#socket, this.#parts, this.#counters, exchange, advanceRequest<void>, deadline);
    } catch (error) {
      // The BMC forgets an idle session by itself.
      if (!isFault(error)) throw error;
    } finally {
      await this.#socket.close();
    }
  }

  /** Forgets the session without a word to the BMC, which has lost it. */
  async abandon(): Promise<void> {
    this.#closed = true;
    await this.#socket.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.abandon();
  }
}

/** One short question: it only makes a fault's sentence better. */
const inquiryPlan: RetryPlan = { attempts: 2, first: millis(400), growth: 1 };

/** A refusal of our cipher suites, with those that the BMC offers instead, if it tells; any other error as it is. */
async function withOffer(
  error: unknown,
  socket: UdpSocket,
  parts: IpmiParts,
  counters: IpmiCounters,
  wait: IpmiWait,
): Promise<unknown> {
  if (!isFault(error) || error.detail["suiteRefused"] !== true) return error;
  try {
    const inquiry = beginCipherSuiteInquiry(inquiryPlan);
    const { result } = await runExchange(socket, parts, counters, inquiry, advanceCipherSuiteInquiry, wait);
    const offered = result.join(", ");
    return new Fault(error.kind, error.code, `${error.message}; the BMC offers ${offered}`, {
      detail: { ...error.detail, offered },
      cause: error,
    });
  } catch (trouble) {
    if (!isFault(trouble) || wait.signal.aborted) throw trouble;
    return error;
  }
}
