/**
 * Ironic's API microversions that this server speaks. 1.82 is Ironic 21.4 (2023.1); clients take it as a list of features, so
 * fields of later versions are not shown. @source ironic REST API version history
 */
export const MINIMUM = 1;
export const MAXIMUM = 82;

/** The minor number of the version in force, or why there is none. */
export type Negotiated =
  | { readonly ok: true; readonly minor: number }
  | { readonly ok: false; readonly known: boolean; readonly reason: string };

/** @source IRONIC API: no header means 1.1; `latest` is the maximum; outside the range or not a version is 406 */
export function negotiate(header: string | undefined): Negotiated {
  if (header === undefined || header.trim() === "") return { ok: true, minor: MINIMUM };
  const text = header.trim();
  if (text.toLowerCase() === "latest") return { ok: true, minor: MAXIMUM };
  const [, major, minor] = /^(\d{1,4})\.(\d{1,4})$/.exec(text) ?? [];
  if (major === undefined || minor === undefined) {
    return { ok: false, known: false, reason: `Invalid value for X-OpenStack-Ironic-API-Version header: ${text}` };
  }
  if (major !== "1" || Number(minor) < MINIMUM || Number(minor) > MAXIMUM) {
    return {
      ok: false,
      known: true,
      reason: `Version ${text} was requested by the user but the service supports 1.${MINIMUM} to 1.${MAXIMUM}.`,
    };
  }
  return { ok: true, minor: Number(minor) };
}

export function versionText(minor: number): string {
  return `1.${minor}`;
}
