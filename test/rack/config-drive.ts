/** What a deployed machine shall be: read by cloud-init from the config drive. */
export interface InstanceIdentity {
  readonly hostName: string;
  readonly publicKey: string;
}

/** A config drive in Ironic's JSON form. @source Ironic api-ref, "configdrive" */
export function configDrive({ hostName, publicKey }: InstanceIdentity): string {
  const userData = [
    "#cloud-config",
    "disable_root: false",
    "ssh_pwauth: false",
    "ssh_authorized_keys:",
    `  - ${publicKey}`,
    "",
  ].join("\n");
  return JSON.stringify({
    meta_data: { hostname: hostName, name: hostName, public_keys: { demo: publicKey } },
    user_data: userData,
  });
}
