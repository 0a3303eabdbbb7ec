import { invalid } from "../core/fault.ts";

/** The topics between one rack and its site. `{site}` and `{rack}` are one topic level each. */
export interface SiteTopics {
  readonly command: string;
  readonly event: string;
  readonly status: string;
  /** Retained state of all nodes, as a filter. */
  readonly nodes: string;
  readonly telemetry: string;
  node(uuid: string): string;
  /** Where answers for one caller go, if it has no better topic. */
  reply(clientId: string): string;
}

/** @throws Fault invalid when a name cannot be one topic level */
export function siteTopics(names: { readonly site: string; readonly rack: string }): SiteTopics {
  const base = `ironrack/v1/${topicLevel("site", names.site)}/${topicLevel("rack", names.rack)}`;
  return {
    command: `${base}/command`,
    event: `${base}/event`,
    status: `${base}/status`,
    nodes: `${base}/node/+`,
    telemetry: `${base}/telemetry`,
    node: (uuid) => `${base}/node/${uuid}`,
    reply: (clientId) => `${base}/reply/${clientId}`,
  };
}

/** @source MQTT 5.0 §4.7.3: wildcards, the separator and NUL cannot stand in a level */
function topicLevel(field: string, name: string): string {
  if (!/^[^/+#\0]{1,128}$/u.test(name)) throw invalid(field, `"${name}" cannot be a level of an MQTT topic`);
  return name;
}
