import { X509Certificate } from "node:crypto";
import { TLSSocket } from "node:tls";
import { buildConnector } from "undici";
import { Fault } from "../core/fault.ts";

/**
 * Connects where the server shows exactly the certificate `pem`, and nowhere else. Whom it names and from when to when it is
 * valid does not matter: it was made by a machine whose clock may be years off, and is trusted because the machine sent it.
 * @throws Fault invalid when `pem` is no certificate
 */
export function pinnedConnector(pem: string, timeout: number): buildConnector.connector {
  const pinned = parse(pem);
  // A resumed session shows no certificate, so none is resumed.
  const connect = buildConnector({ timeout, rejectUnauthorized: false, maxCachedSessions: 0 });
  return (options, callback) => {
    connect(options, (...[error, socket]) => {
      if (error !== null) {
        callback(error, null);
        return;
      }
      // Plain HTTP has no certificate to compare, and needs none: then nothing was pinned for it.
      const shown = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
      if (socket instanceof TLSSocket && shown?.fingerprint256 !== pinned.fingerprint256) {
        socket.destroy();
        callback(mismatch(options.hostname, options.port), null);
        return;
      }
      callback(null, socket);
    });
  };
}

function parse(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw new Fault("invalid", "http.pin", "the certificate to be pinned is not a PEM certificate", { cause: error });
  }
}

function mismatch(host: string, port: string): Fault {
  return new Fault(
    "refused",
    "http.certificate",
    `the server at ${host}:${port} shows another certificate than the one it announced`,
  );
}
