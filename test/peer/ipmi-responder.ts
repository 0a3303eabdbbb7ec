import { createCipheriv, createDecipheriv, createHmac, randomBytes } from "node:crypto";
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";

/*
 * A BMC for tests, written from the specification (IPMI v2.0 revision 1.1) with nothing of src/protocol in it, so that the
 * two can be held against each other and against ipmitool. It speaks the suites that ipmi_sim does not, and misbehaves on
 * request.
 */

/** Table 22-20: authentication, integrity, confidentiality, with hash names and code lengths of tables 13-17 to 13-19. */
const SUITES: Readonly<
  Record<number, { auth: number; integrity: number; cipher: number; hash: string; code: number }>
> = {
  1: { auth: 1, integrity: 0, cipher: 0, hash: "sha1", code: 12 },
  2: { auth: 1, integrity: 1, cipher: 0, hash: "sha1", code: 12 },
  3: { auth: 1, integrity: 1, cipher: 1, hash: "sha1", code: 12 },
  8: { auth: 2, integrity: 2, cipher: 1, hash: "md5", code: 16 },
  17: { auth: 3, integrity: 4, cipher: 1, hash: "sha256", code: 16 },
};

export interface ResponderUser {
  readonly name: string;
  readonly password: string;
  /** 2 user, 3 operator, 4 administrator */
  readonly privilege: number;
}

export interface ResponderOptions {
  readonly users: readonly ResponderUser[];
  readonly suites: readonly number[];
  readonly bmcKey?: Buffer;
  /** Answers packets of unknown suites with nothing, as some BMCs do. */
  readonly silentAboutSuites?: boolean;
  readonly ipmi20?: boolean;
  readonly manufacturerId?: number;
  /** How long the machine takes to change its power after it was told to. */
  readonly powerDelayMs?: number;
  readonly port?: number;
  /** Chance of this BMC, so that a capture can be repeated. */
  readonly random?: (count: number) => Buffer;
}

/** What is done with a request; undefined: what the specification says. */
export type Meddling =
  | "ignore"
  | "no-answer"
  | "twice"
  | "garbage"
  | { readonly completion: number }
  | { readonly delayMs: number }
  | undefined;

interface OpenSession {
  readonly consoleId: number;
  readonly managedId: number;
  readonly suite: (typeof SUITES)[number];
  readonly requested: number;
  state: "opened" | "challenged" | "active";
  user?: ResponderUser;
  role: number;
  name: Buffer;
  consoleRandom: Buffer;
  managedRandom: Buffer;
  k1: Buffer;
  k2: Buffer;
  outSequence: number;
  seen: Set<number>;
  privilege: number;
}

const GUID = Buffer.from("00112233445566778899aabbccddeeff", "hex");

export interface ReceivedCommand {
  readonly netFn: number;
  readonly command: number;
  readonly data: Buffer;
}

export class IpmiResponder {
  powerOn = false;
  bootFlags = Buffer.alloc(5);
  validClearing = 0;
  setInProgress = 0;
  /** Every command that arrived in a session and was genuine, in order. */
  readonly received: ReceivedCommand[] = [];
  /** Asked for every command in a session before it is carried out. */
  meddle: (command: ReceivedCommand) => Meddling = () => undefined;
  readonly #socket: Socket;
  readonly #options: ResponderOptions;
  readonly #sessions = new Map<number, OpenSession>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #nextId = 0x0200_0000;

  private constructor(socket: Socket, options: ResponderOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.on("message", (bytes, from) => this.#arrived(bytes, from));
  }

  static async start(options: ResponderOptions): Promise<IpmiResponder> {
    const socket = createSocket("udp4");
    await new Promise<void>((done) => socket.bind(options.port ?? 0, "127.0.0.1", done));
    return new IpmiResponder(socket, options);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  get activeSessions(): number {
    return [...this.#sessions.values()].filter((session) => session.state === "active").length;
  }

  /** As after a reset of the BMC: nobody is logged in; the machine keeps its power. */
  forgetSessions(): void {
    this.#sessions.clear();
  }

  count(netFn: number, command: number): number {
    return this.received.filter((one) => one.netFn === netFn && one.command === command).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    await new Promise<void>((done) => this.#socket.close(() => done()));
  }

  #random(count: number): Buffer {
    return this.#options.random?.(count) ?? randomBytes(count);
  }

  #arrived(bytes: Buffer, from: RemoteInfo): void {
    if (bytes.length < 5 || bytes[0] !== 6) return;
    if (bytes[3] === 6) return this.#ping(bytes, from);
    if (bytes[3] !== 7) return;
    if (bytes[4] === 0) return this.#outsideSession(bytes, from);
    if (bytes[4] !== 6 || bytes.length < 16) return;
    const type = (bytes[5] ?? 0) & 0x3f;
    const length = bytes.readUInt16LE(14);
    if (bytes.length < 16 + length) return;
    const payload = bytes.subarray(16, 16 + length);
    if (type === 0x10) this.#openSession(payload, from);
    else if (type === 0x12) this.#rakp1(payload, from);
    else if (type === 0x14) this.#rakp3(payload, from);
    else if (type === 0x00) this.#inSession(bytes, payload, from);
  }

  #send(bytes: Buffer, to: RemoteInfo): void {
    this.#socket.send(bytes, to.port, to.address, () => undefined);
  }

  /** §13.2.4 */
  #ping(bytes: Buffer, from: RemoteInfo): void {
    if (bytes[8] !== 0x80) return;
    const pong = Buffer.from("0600ff06000011be40000010000011be0000000081000000000000".padEnd(56, "0"), "hex");
    pong[9] = bytes[9] ?? 0;
    this.#send(pong, from);
  }

  /** Get Channel Authentication Capabilities, §22.13. */
  #outsideSession(bytes: Buffer, from: RemoteInfo): void {
    const message = bytes.subarray(14, 14 + (bytes[13] ?? 0));
    if (message[1] !== 0x18) return;
    if (message[5] !== 0x38) return;
    const v20 = this.#options.ipmi20 ?? true;
    const asked = ((message[6] ?? 0) & 0x80) !== 0 && v20;
    const kg = this.#options.bmcKey === undefined ? 0 : 0x20;
    const data = Buffer.from([0, 1, asked ? 0x80 : 0x04, 0x04 | (asked ? kg : 0), asked ? 0x02 : 0, 0, 0, 0, 0]);
    const answer = this.#response(message, data);
    const header = Buffer.from([6, 0, 0xff, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, answer.length]);
    this.#send(Buffer.concat([header, answer]), from);
  }

  /** Get Channel Cipher Suites, §22.15: the records in pieces of 16 bytes. */
  #cipherSuites(index: number): Buffer {
    const records = this.#options.suites.flatMap((id) => {
      const { auth, integrity, cipher } = SUITES[id] ?? { auth: 0, integrity: 0, cipher: 0 };
      return [0xc0, id, auth, 0x40 | integrity, 0x80 | cipher];
    });
    const start = (index & 0x3f) * 16;
    return Buffer.from([0, 1, ...records.slice(start, start + 16)]);
  }

  /** §13.17, §13.18 */
  #openSession(payload: Buffer, from: RemoteInfo): void {
    if (payload.length !== 32) return;
    const tag = payload[0] ?? 0;
    const consoleId = payload.readUInt32LE(4);
    const [auth, integrity, cipher] = [payload[12], payload[20], payload[28]];
    const id = this.#options.suites.find((known) => {
      const suite = SUITES[known];
      return suite?.auth === auth && suite?.integrity === integrity && suite?.cipher === cipher;
    });
    const suite = id === undefined ? undefined : SUITES[id];
    if (suite === undefined) {
      if (this.#options.silentAboutSuites === true) return;
      return this.#sendPlain(0x11, Buffer.from([tag, 0x11, 0, 0, ...payload.subarray(4, 8)]), from);
    }
    const managedId = this.#nextId++;
    this.#sessions.set(managedId, {
      consoleId,
      managedId,
      suite,
      requested: payload[1] ?? 0,
      state: "opened",
      role: 0,
      name: Buffer.alloc(0),
      consoleRandom: Buffer.alloc(16),
      managedRandom: Buffer.alloc(16),
      k1: Buffer.alloc(0),
      k2: Buffer.alloc(0),
      outSequence: 0,
      seen: new Set(),
      privilege: 2,
    });
    const response = Buffer.alloc(36);
    response[0] = tag;
    // 0 asks for the highest level that the algorithms allow.
    response[2] = ((payload[1] ?? 0) & 0x0f) === 0 ? 4 : (payload[1] ?? 0);
    response.writeUInt32LE(consoleId, 4);
    response.writeUInt32LE(managedId, 8);
    payload.copy(response, 12, 8, 32);
    this.#sendPlain(0x11, response, from);
  }

  /** §13.20, §13.21 */
  #rakp1(payload: Buffer, from: RemoteInfo): void {
    if (payload.length < 28 || payload.length !== 28 + (payload[27] ?? 0)) return;
    const tag = payload[0] ?? 0;
    const session = this.#sessions.get(payload.readUInt32LE(4));
    const refuse = (status: number): void => {
      const consoleId = Buffer.alloc(4);
      consoleId.writeUInt32LE(session?.consoleId ?? 0);
      if (session !== undefined) this.#sessions.delete(session.managedId);
      this.#sendPlain(0x13, Buffer.concat([Buffer.from([tag, status, 0, 0]), consoleId]), from);
    };
    if (session === undefined || session.state === "active") return refuse(0x02);
    session.role = payload[24] ?? 0;
    session.name = Buffer.from(payload.subarray(28));
    const user = this.#options.users.find((one) => Buffer.from(one.name).equals(session.name));
    if (user === undefined) return refuse(0x0d);
    if ((session.role & 0x0f) > user.privilege && this.strictRole) return refuse(0x0a);
    session.user = user;
    session.consoleRandom = Buffer.from(payload.subarray(8, 24));
    session.managedRandom = this.#random(16);
    session.state = "challenged";
    const code = this.#hmac(session, Buffer.from(user.password), [
      ids(session),
      session.consoleRandom,
      session.managedRandom,
      GUID,
      nameOf(session),
    ]);
    const consoleId = Buffer.alloc(4);
    consoleId.writeUInt32LE(session.consoleId);
    this.#sendPlain(
      0x13,
      Buffer.concat([Buffer.from([tag, 0, 0, 0]), consoleId, session.managedRandom, GUID, code]),
      from,
    );
  }

  /** Refuses a role above the user's at RAKP 2; otherwise only Set Session Privilege Level refuses it. */
  strictRole = false;

  /** §13.22, §13.23 */
  #rakp3(payload: Buffer, from: RemoteInfo): void {
    if (payload.length < 8) return;
    const tag = payload[0] ?? 0;
    const session = this.#sessions.get(payload.readUInt32LE(4));
    const consoleId = Buffer.alloc(4);
    consoleId.writeUInt32LE(session?.consoleId ?? 0);
    const refuse = (status: number): void =>
      this.#sendPlain(0x15, Buffer.concat([Buffer.from([tag, status, 0, 0]), consoleId]), from);
    if (session?.user === undefined || session.state !== "challenged") return refuse(0x02);
    if (payload[1] !== 0) {
      this.#sessions.delete(session.managedId);
      return;
    }
    const key = Buffer.from(session.user.password);
    const own = Buffer.alloc(4);
    own.writeUInt32LE(session.consoleId);
    const expected = this.#hmac(session, key, [session.managedRandom, own, nameOf(session)]);
    if (!expected.equals(payload.subarray(8))) {
      this.#sessions.delete(session.managedId);
      return refuse(0x0f);
    }
    const sik = this.#hmac(session, this.#options.bmcKey ?? key, [
      session.consoleRandom,
      session.managedRandom,
      nameOf(session),
    ]);
    session.k1 = this.#hmac(session, sik, [Buffer.alloc(20, 1)]);
    session.k2 = this.#hmac(session, sik, [Buffer.alloc(20, 2)]);
    session.state = "active";
    const managed = Buffer.alloc(4);
    managed.writeUInt32LE(session.managedId);
    const check = this.#hmac(session, sik, [session.consoleRandom, managed, GUID]).subarray(0, session.suite.code);
    this.#sendPlain(0x15, Buffer.concat([Buffer.from([tag, 0, 0, 0]), consoleId, check]), from);
  }

  #hmac(session: OpenSession, key: Buffer, parts: readonly Buffer[]): Buffer {
    return createHmac(session.suite.hash, key).update(Buffer.concat(parts)).digest();
  }

  #sendPlain(type: number, payload: Buffer, to: RemoteInfo): void {
    const header = Buffer.from([6, 0, 0xff, 7, 6, type, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    header.writeUInt16LE(payload.length, 14);
    this.#send(Buffer.concat([header, payload]), to);
  }

  #inSession(bytes: Buffer, payload: Buffer, from: RemoteInfo): void {
    const id = bytes.readUInt32LE(6);
    // Session 0, before any login: Get Channel Cipher Suites alone.
    if (id === 0 && payload[1] === 0x18 && payload[5] === 0x54) {
      return this.#sendPlain(0x00, this.#response(payload, this.#cipherSuites(payload[8] ?? 0)), from);
    }
    const session = this.#sessions.get(id);
    if (session?.state !== "active") return;
    const sequence = bytes.readUInt32LE(10);
    const { suite } = session;
    if (suite.integrity !== 0) {
      if (((bytes[5] ?? 0) & 0x40) === 0) return;
      const covered = bytes.subarray(4, bytes.length - suite.code);
      if (covered.length % 4 !== 0 || covered.at(-1) !== 7) return;
      if (
        !this.#hmac(session, session.k1, [covered])
          .subarray(0, suite.code)
          .equals(bytes.subarray(bytes.length - suite.code))
      )
        return;
    }
    if (sequence === 0 || session.seen.has(sequence)) return;
    session.seen.add(sequence);
    let message = payload;
    if (suite.cipher !== 0) {
      if (((bytes[5] ?? 0) & 0x80) === 0 || payload.length < 32) return;
      const decipher = createDecipheriv(
        "aes-128-cbc",
        session.k2.subarray(0, 16),
        payload.subarray(0, 16),
      ).setAutoPadding(false);
      const plain = Buffer.concat([decipher.update(payload.subarray(16)), decipher.final()]);
      message = plain.subarray(0, plain.length - 1 - (plain.at(-1) ?? 0));
    }
    if (message.length < 7 || sum(message.subarray(0, 3)) !== 0 || sum(message.subarray(3)) !== 0) return;
    const command = {
      netFn: (message[1] ?? 0) >> 2,
      command: message[5] ?? 0,
      data: Buffer.from(message.subarray(6, -1)),
    };
    this.received.push(command);
    const meddling = this.meddle(command);
    if (meddling === "ignore") return;
    const forced = typeof meddling === "object" && "completion" in meddling ? meddling.completion : undefined;
    const data = forced === undefined ? this.#carryOut(session, command) : Buffer.from([forced]);
    if (meddling === "no-answer") return;
    const answer = this.#seal(session, this.#response(message, data));
    if (typeof meddling === "object" && "delayMs" in meddling) {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        this.#send(answer, from);
      }, meddling.delayMs);
      this.#timers.add(timer);
    } else {
      if (meddling === "garbage") this.#sendGarbage(session, from);
      this.#send(answer, from);
      if (meddling === "twice") this.#send(answer, from);
    }
  }

  /** Noise, cut packets, and genuine packets with nonsense inside. */
  #sendGarbage(session: OpenSession, to: RemoteInfo): void {
    this.#send(Buffer.from("noise"), to);
    this.#send(Buffer.from("0600ff0706c0", "hex"), to);
    this.#send(this.#seal(session, Buffer.from([0x81, 0x04])), to);
    this.#send(this.#seal(session, Buffer.alloc(9, 0x55)), to);
  }

  #seal(session: OpenSession, message: Buffer): Buffer {
    const { suite } = session;
    let payload = message;
    if (suite.cipher !== 0) {
      const pad = (16 - ((message.length + 1) % 16)) % 16;
      const trailer = Buffer.from([...Array.from({ length: pad }, (_, index) => index + 1), pad]);
      const iv = this.#random(16);
      const cipher = createCipheriv("aes-128-cbc", session.k2.subarray(0, 16), iv).setAutoPadding(false);
      payload = Buffer.concat([iv, cipher.update(Buffer.concat([message, trailer])), cipher.final()]);
    }
    session.outSequence += 1;
    const header = Buffer.alloc(12);
    header[0] = 6;
    header[1] = (suite.cipher === 0 ? 0 : 0x80) | (suite.integrity === 0 ? 0 : 0x40);
    header.writeUInt32LE(session.consoleId, 2);
    header.writeUInt32LE(session.outSequence, 6);
    header.writeUInt16LE(payload.length, 10);
    const rmcp = Buffer.from([6, 0, 0xff, 7]);
    if (suite.integrity === 0) return Buffer.concat([rmcp, header, payload]);
    const pad = (4 - ((header.length + payload.length + 2) % 4)) % 4;
    const covered = Buffer.concat([header, payload, Buffer.alloc(pad, 0xff), Buffer.from([pad, 7])]);
    return Buffer.concat([rmcp, covered, this.#hmac(session, session.k1, [covered]).subarray(0, suite.code)]);
  }

  /** Figure 13-4: addresses, sequence and LUNs turned round. */
  #response(request: Buffer, data: Buffer): Buffer {
    const head = Buffer.from([request[3] ?? 0, ((((request[1] ?? 0) >> 2) + 1) << 2) | ((request[4] ?? 0) & 3)]);
    const body = Buffer.from([
      request[0] ?? 0,
      ((request[4] ?? 0) & 0xfc) | ((request[1] ?? 0) & 3),
      request[5] ?? 0,
      ...data,
    ]);
    return Buffer.concat([head, Buffer.from([-sum(head) & 0xff]), body, Buffer.from([-sum(body) & 0xff])]);
  }

  #carryOut(session: OpenSession, { netFn, command, data }: ReceivedCommand): Buffer {
    const limit = session.user?.privilege ?? 2;
    switch ((netFn << 8) | command) {
      case 0x0601: {
        const manufacturer = this.#options.manufacturerId ?? 0x1291;
        const id = [manufacturer & 0xff, (manufacturer >> 8) & 0xff, (manufacturer >> 16) & 0xff];
        return Buffer.from([0, 0x20, 0x81, 0x01, 0x23, 0x02, 0xbf, ...id, 0x02, 0x0f, 0, 0, 0, 0]);
      }
      case 0x063b: {
        const wanted = (data[0] ?? 0) & 0x0f;
        if (wanted > limit) return Buffer.from([0x81]);
        if (wanted !== 0) session.privilege = wanted;
        return Buffer.from([0, session.privilege]);
      }
      case 0x063c:
        if (data.length < 4 || !this.#sessions.has(data.readUInt32LE(0))) return Buffer.from([0x87]);
        setImmediate(() => this.#sessions.delete(data.readUInt32LE(0)));
        return Buffer.from([0]);
      case 0x0001:
        return Buffer.from([0, (this.powerOn ? 0x01 : 0) | 0x20, this.powerOn ? 0x10 : 0, 0x40]);
      case 0x0002: {
        if (session.privilege < 3) return Buffer.from([0xd4]);
        const action = data[0] ?? 0xff;
        if (action === 1) this.#power(true);
        else if (action === 0 || action === 5) this.#power(false);
        else if (action > 5) return Buffer.from([0xcc]);
        return Buffer.from([0]);
      }
      case 0x0007:
        return Buffer.from([0, 0x01, 0x01]);
      case 0x0008:
        return session.privilege < 3 ? Buffer.from([0xd4]) : this.#setBootOption(data);
      case 0x0009:
        return (data[0] ?? 0) === 5 ? Buffer.from([0, 1, 5, ...this.bootFlags]) : Buffer.from([0x80]);
      default:
        return Buffer.from([0xc1]);
    }
  }

  #power(on: boolean): void {
    if (this.#options.powerDelayMs === undefined) {
      this.powerOn = on;
      return;
    }
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.powerOn = on;
    }, this.#options.powerDelayMs);
    this.#timers.add(timer);
  }

  #setBootOption(data: Buffer): Buffer {
    switch ((data[0] ?? 0) & 0x7f) {
      case 0:
        if (data[1] === 1 && this.setInProgress === 1) return Buffer.from([0x81]);
        this.setInProgress = data[1] === 1 ? 1 : 0;
        return Buffer.from([0]);
      case 3:
        this.validClearing = data[1] ?? 0;
        return Buffer.from([0]);
      case 4:
        return Buffer.from([0]);
      case 5:
        this.bootFlags = Buffer.from(data.subarray(1, 6));
        return Buffer.from([0]);
      default:
        return Buffer.from([0x80]);
    }
  }
}

function ids(session: OpenSession): Buffer {
  const both = Buffer.alloc(8);
  both.writeUInt32LE(session.consoleId, 0);
  both.writeUInt32LE(session.managedId, 4);
  return both;
}

function nameOf(session: OpenSession): Buffer {
  return Buffer.concat([Buffer.from([session.role, session.name.length]), session.name]);
}

function sum(bytes: Buffer): number {
  return bytes.reduce((total, byte) => (total + byte) & 0xff, 0);
}
