import assert from "node:assert/strict";
import { test } from "node:test";
import { parseIpv4Address } from "../../../src/core/brand.ts";
import type { Firmware } from "../../../src/domain/boot-firmware.ts";
import {
  type BootPlan,
  type BootPolicy,
  type BootQuery,
  defaultLoaders,
  defaultSignedLoaders,
  planBoot,
} from "../../../src/domain/boot-plan.ts";
import type { Node } from "../../../src/domain/node.ts";
import { volumeBoot } from "../../../src/domain/volume.ts";
import { bootSettings } from "../../boot-settings.ts";
import { aMac, aNode, aPort, aTarget } from "../../conformance/store-contract.ts";

const { policy } = bootSettings({ policy: { kernelArguments: "console=ttyS0" } });
const services = {
  address: parseIpv4Address("10.0.0.1"),
  http: "http://10.0.0.1:8080",
  https: null,
  apiUrl: "http://10.0.0.1:6385",
};
const bios: Firmware = {
  program: "pxe",
  platform: "bios",
  processor: "i386",
  architecture: "x86 BIOS",
  http: false,
  https: false,
};
const uefi: Firmware = {
  program: "pxe",
  platform: "efi",
  processor: "x86_64",
  architecture: "x64 UEFI",
  http: false,
  https: false,
};
const ipxe: Firmware = { ...uefi, program: "ipxe", http: true };
const SCRIPT = "http://10.0.0.1:8080/boot/52-54-00-00-00-07.ipxe";

function plan(firmware: Firmware, node: Partial<Node> | null, changes: Partial<BootQuery> = {}): BootPlan {
  const known = node === null ? undefined : aNode(7, node);
  return planBoot({
    mac: aMac(7),
    node: known,
    port: known === undefined ? undefined : aPort(7, known.uuid),
    volume: { kind: "none" },
    firmware,
    services,
    policy,
    secret: "s3cret",
    ...changes,
  });
}

function file(boot: BootPlan): string {
  return boot.network.kind === "file" ? boot.network.file : `silent: ${boot.network.reason}`;
}

test("the first file of a machine that is to boot the ramdisk follows its firmware", () => {
  const ramdisk = { bootTarget: "ramdisk" } as const;
  const arm64 = { ...ramdisk, properties: { cpu_arch: "aarch64" } };
  assert.equal(file(plan(bios, ramdisk)), "undionly.kpxe");
  assert.equal(file(plan(uefi, ramdisk)), "snponly.efi");
  assert.equal(file(plan({ ...uefi, processor: "arm64" }, arm64)), "snponly-arm64.efi");
  assert.equal(file(plan(ipxe, ramdisk)), SCRIPT);
  assert.equal(file(plan({ ...ipxe, platform: "bios", processor: "i386" }, ramdisk)), SCRIPT);
  assert.equal(
    file(plan({ ...uefi, program: "uefi-http", http: true }, ramdisk)),
    "http://10.0.0.1:8080/loader/snponly.efi",
  );
});

test("a node's cpu_arch says which ramdisk it boots, and firmware for another processor is not sent to it", () => {
  const arm64: Partial<Node> = { bootTarget: "ramdisk", properties: { cpu_arch: "aarch64" } };
  const armFirmware = { ...uefi, processor: "arm64" as const, architecture: "ARM 64-bit UEFI" };
  // GRUB, PXELINUX and iPXE do not say what they run on when they ask for their script.
  for (const firmware of [armFirmware, ipxe]) {
    const { script } = plan(firmware, arm64);
    assert.ok(script.kind === "linux" && script.kernel === "http://10.0.0.1:8080/ramdisk/arm64/kernel");
    assert.equal(script.initrd, "http://10.0.0.1:8080/ramdisk/arm64/initrd");
  }
  assert.match(file(plan(armFirmware, { bootTarget: "ramdisk" })), /^silent: .*no ramdisk for arm64: .* x86_64$/);
  assert.match(file(plan(uefi, arm64)), /^silent: .*no ramdisk for x86_64: .* arm64$/);
  assert.match(
    file(plan(uefi, { bootTarget: "ramdisk", properties: { cpu_arch: "ppc64le" } })),
    /^silent: .*no ramdisk for the node's cpu_arch$/,
  );
  const without = { policy: { ...policy, ramdisks: ["x86_64" as const] } };
  assert.match(file(plan(armFirmware, arm64, without)), /^silent: .*no ramdisk for the node's cpu_arch, arm64$/);
  const own = { ...arm64, driverInfo: { deploy_kernel: "http://10.0.0.9/kernel" } };
  assert.equal(file(plan(armFirmware, own, without)), "snponly-arm64.efi");
});

test("U-Boot gets its configuration's name for a kernel, and nothing for what it cannot start", () => {
  const uBoot: Firmware = { ...bios, program: "u-boot", platform: "other", processor: "arm64" };
  const arm64 = { properties: { cpu_arch: "aarch64" } };
  const ramdisk = plan(uBoot, { ...arm64, bootTarget: "ramdisk" });
  assert.equal(file(ramdisk), "pxelinux.cfg/01-52-54-00-00-00-07");
  assert.equal(ramdisk.network.kind === "file" && ramdisk.network.by, "tftp");
  const iso = { ...arm64, bootTarget: "network", instanceInfo: { boot_iso: "http://10.0.0.9/live.iso" } } as const;
  assert.match(file(plan(uBoot, iso)), /^silent: .*U-Boot starts kernels only$/);
  assert.match(file(plan(uBoot, { ...arm64, bootTarget: "disk" })), /^silent: .*its own disk$/);
});

test("UEFI HTTP boot takes a URL only with option 60 — UEFI 2.10 §24.7.3", () => {
  const boot = plan({ ...uefi, program: "uefi-http", http: true }, { bootTarget: "ramdisk" });
  assert.equal(boot.network.kind === "file" && boot.network.vendorClass, "HTTPClient");
  assert.equal(plan(uefi, { bootTarget: "ramdisk" }).network.kind, "file");
});

test("an iPXE that cannot speak HTTP gets a loader that can", () => {
  assert.equal(file(plan({ ...ipxe, http: false }, { bootTarget: "ramdisk" })), "snponly.efi");
});

test("firmware without a loader, and operating systems, get an address and no file", () => {
  assert.match(
    file(plan({ ...uefi, processor: "riscv64", architecture: "RISC-V 64-bit UEFI" }, { bootTarget: "ramdisk" })),
    /^silent: .*no ramdisk for riscv64/,
  );
  const armFirmware = { ...uefi, processor: "arm64" as const, architecture: "ARM 64-bit UEFI" };
  const arm64: Partial<Node> = { bootTarget: "ramdisk", properties: { cpu_arch: "aarch64" } };
  const loaders = defaultLoaders.filter(({ processor }) => processor !== "arm64");
  assert.match(file(plan(armFirmware, arm64, { policy: { ...policy, loaders } })), /no loader for ARM 64-bit UEFI/);
  assert.match(file(plan({ ...uefi, program: "system" }, { bootTarget: "ramdisk" })), /^silent: .*operating system/);
});

test("a machine with the capability secure_boot gets the signed loader, and nothing unsigned where there is none", () => {
  const secure = (capabilities: string): Partial<Node> => ({ bootTarget: "ramdisk", properties: { capabilities } });
  assert.equal(file(plan(uefi, secure("boot_mode:uefi,secure_boot:true"))), "shimx64.efi");
  assert.equal(file(plan(uefi, secure("secure_boot:false"))), "snponly.efi");
  assert.equal(
    file(plan(uefi, { bootTarget: "ramdisk", instanceInfo: { capabilities: { secure_boot: "true" } } })),
    "shimx64.efi",
  );
  const arm64 = {
    bootTarget: "ramdisk",
    properties: { capabilities: "secure_boot:true", cpu_arch: "aarch64" },
  } as const;
  const armFirmware = { ...uefi, processor: "arm64" as const };
  assert.equal(file(plan(armFirmware, arm64)), "shimaa64.efi");
  assert.match(
    file(plan({ ...uefi, program: "uefi-http", http: true }, secure("secure_boot:true"))),
    /^silent: .*not by HTTP under Secure Boot, as the signed GRUB cannot; by PXE$/,
  );
  const signedLoaders = defaultSignedLoaders.filter(({ processor }) => processor !== "arm64");
  assert.match(file(plan(armFirmware, arm64, { policy: { ...policy, signedLoaders } })), /no loader/);
});

test("a machine that is to boot its disk, or that nothing is ordered for, is not disturbed by any service", () => {
  for (const bootTarget of ["disk", "none"] as const) {
    const boot = plan(ipxe, { bootTarget });
    assert.equal(boot.network.kind, "silent");
    assert.deepEqual(boot.script, { kind: "local-disk" });
  }
});

test("an unknown machine is booted only when discovery is on", () => {
  assert.deepEqual(plan(ipxe, null).network, { kind: "silent", reason: "port unknown and discovery off" });
  assert.deepEqual(plan(ipxe, null).script, { kind: "local-disk" });
  const found = plan(ipxe, null, { policy: { ...policy, discovery: true } });
  assert.equal(file(found), SCRIPT);
  assert.ok(
    found.script.kind === "linux" &&
      found.script.arguments.includes("ipa-inspection-callback-url=http://10.0.0.1:6385/v1/continue_inspection"),
  );
});

test("a port with pxe_enabled false does not boot", () => {
  const node = aNode(7, { bootTarget: "ramdisk" });
  const boot = plan(ipxe, {}, { node, port: aPort(7, node.uuid, { pxeEnabled: false }) });
  assert.equal(boot.target, "none");
});

test("the ramdisk is told where the API is, which NIC booted, and while inspecting where to report", () => {
  const script = (node: Partial<Node>): BootPlan["script"] => plan(ipxe, { bootTarget: "ramdisk", ...node }).script;
  assert.deepEqual(script({ provisionState: "cleaning" }), {
    kind: "linux",
    of: "ramdisk",
    kernel: "http://10.0.0.1:8080/ramdisk/kernel",
    initrd: "http://10.0.0.1:8080/ramdisk/initrd",
    arguments: ["ipa-api-url=http://10.0.0.1:6385", "ipa-debug=0", "BOOTIF=01-52-54-00-00-00-07", "console=ttyS0"],
  });
  for (const provisionState of ["inspecting", "inspect wait"] as const) {
    const linux = script({ provisionState });
    assert.ok(
      linux.kind === "linux" && linux.arguments.some((argument) => argument.startsWith("ipa-inspection-callback-url=")),
    );
  }
});

test("kernel_append_params stand for the defaults, and %default% in them for these — Ironic", () => {
  const of = (node: Partial<Node>): readonly string[] => {
    const { script } = plan(ipxe, { bootTarget: "ramdisk", ...node });
    return script.kind === "linux" ? script.arguments.slice(3) : [];
  };
  assert.deepEqual(of({ driverInfo: { kernel_append_params: "nomodeset" } }), ["nomodeset"]);
  assert.deepEqual(of({ driverInfo: { kernel_append_params: "a %default%  b" } }), ["a", "console=ttyS0", "b"]);
  assert.deepEqual(of({ driverInfo: { kernel_append_params: "a" }, instanceInfo: { kernel_append_params: "c" } }), [
    "c",
  ]);
});

test("a node's own deploy_kernel and deploy_ramdisk are fetched from where they are, if iPXE can", () => {
  const { script } = plan(ipxe, {
    bootTarget: "ramdisk",
    driverInfo: { deploy_kernel: "http://site/k", deploy_ramdisk: "file:///x" },
  });
  assert.ok(script.kind === "linux");
  assert.deepEqual([script.kernel, script.initrd], ["http://site/k", "http://10.0.0.1:8080/ramdisk/initrd"]);
});

test("the instance of a machine that runs from memory is what instance_info names, each time it boots", () => {
  const instance = (instanceInfo: Node["instanceInfo"]): Partial<Node> => ({ bootTarget: "network", instanceInfo });
  const iso = plan(ipxe, instance({ boot_iso: "http://x/live.iso", kernel: "http://x/k" }));
  assert.deepEqual([iso.target, file(iso)], ["instance", SCRIPT]);
  assert.deepEqual(iso.script, { kind: "iso", url: "http://x/live.iso" });
  assert.equal(iso.confidential, false);
  const own = plan(ipxe, instance({ boot_iso: "/srv/live.iso" }));
  assert.deepEqual(own.script, { kind: "iso", url: "http://10.0.0.1:8080/own/s3cret/52-54-00-00-00-07.iso" });
  assert.equal(own.confidential, true);
  assert.deepEqual(plan(ipxe, instance({ kernel: "http://x/k", kernel_append_params: "%default% quiet" })).script, {
    kind: "linux",
    of: "instance",
    kernel: "http://x/k",
    initrd: null,
    arguments: ["console=ttyS0", "quiet"],
  });
  const nothing = plan(ipxe, instance({}));
  assert.deepEqual([nothing.target, nothing.script.kind, nothing.network.kind], ["none", "local-disk", "silent"]);
});

test("UEFI HTTP boot loads an instance's ISO itself", () => {
  const boot = plan(
    { ...uefi, program: "uefi-http", http: true },
    { bootTarget: "network", instanceInfo: { boot_iso: "http://x/live.iso" } },
  );
  assert.equal(file(boot), "http://x/live.iso");
  assert.equal(boot.network.kind === "file" && boot.network.vendorClass, "HTTPClient");
});

test("the capability memory_test stands before the disk, and behind the ramdisk that work needs", () => {
  const tested = (bootTarget: Node["bootTarget"]): BootPlan =>
    plan(ipxe, { bootTarget, properties: { capabilities: "memory_test:true" } });
  assert.equal(tested("ramdisk").target, "ramdisk");
  assert.equal(tested("none").target, "memory-test");
  assert.deepEqual(tested("disk").script, {
    kind: "memory-test",
    bios: "http://10.0.0.1:8080/loader/memtest86+x64.bin",
    efi: "http://10.0.0.1:8080/loader/memtest86+x64.efi",
    arguments: ["console=ttyS0"],
  });
  assert.equal(plan(ipxe, { bootTarget: "disk", properties: { capabilities: "memory_test:false" } }).target, "disk");
});

test("under Secure Boot nothing is begun that the signed GRUB cannot start", () => {
  const secure = plan(uefi, {
    bootTarget: "network",
    instanceInfo: { boot_iso: "http://x/live.iso", capabilities: "secure_boot:true" },
  });
  assert.match(file(secure), /^silent: .*not under Secure Boot/);
});

test("a volume is booted by iPXE, and a script with its password is for the machine alone", () => {
  const volumes = (properties: Node["driverInfo"]): Partial<BootQuery> => ({
    volume: volumeBoot({ interfaces: { storage: "external" } }, [aTarget(1, { bootIndex: 0, properties })]),
  });
  const san = { target_portal: "10.0.0.9", target_iqn: "iqn.2026-01.org.example:san", target_lun: 1 };
  const open = plan(ipxe, { bootTarget: "volume" }, volumes(san));
  assert.deepEqual([open.target, file(open), open.confidential], ["volume", SCRIPT, false]);
  assert.equal(file(plan(bios, { bootTarget: "volume" }, volumes(san))), "undionly.kpxe");
  const chap = { ...san, auth_username: "r1", auth_password: "s3cret" };
  assert.equal(plan(ipxe, { bootTarget: "volume" }, volumes(chap)).confidential, true);
  assert.doesNotMatch(plan(ipxe, { bootTarget: "volume" }, volumes(chap)).reason, /s3cret/);
  assert.match(
    file(plan(ipxe, { bootTarget: "volume" }, volumes({}))),
    /^silent: .*its volume's properties\.target_portal/,
  );
  assert.match(file(plan(ipxe, { bootTarget: "volume" })), /^silent: .*it has no volume with boot_index 0/);
  const secure = plan(uefi, { bootTarget: "volume", properties: { capabilities: "secure_boot:true" } }, volumes(san));
  assert.match(file(secure), /^silent: .*not under Secure Boot/);
});

test("https is for programs that can and that the operator says trust us; others keep to http", () => {
  const tls = (httpsFor: BootPolicy["httpsFor"]): Partial<BootQuery> => ({
    services: { ...services, https: "https://10.0.0.1:8443" },
    policy: { ...policy, httpsFor },
  });
  const ramdisk = { bootTarget: "ramdisk" } as const;
  const firmware = { ...uefi, program: "uefi-http" as const, http: true, https: true };
  assert.equal(file(plan(firmware, ramdisk, tls(["uefi-http"]))), "https://10.0.0.1:8443/loader/snponly.efi");
  assert.equal(file(plan(firmware, ramdisk, tls(["ipxe"]))), "http://10.0.0.1:8080/loader/snponly.efi");
  assert.equal(
    file(plan(firmware, ramdisk, { policy: { ...policy, httpsFor: ["uefi-http"] } })),
    "http://10.0.0.1:8080/loader/snponly.efi",
  );
  assert.equal(
    file(plan({ ...ipxe, https: true }, ramdisk, tls(["ipxe"]))),
    SCRIPT.replace("http://10.0.0.1:8080", "https://10.0.0.1:8443"),
  );
  assert.equal(file(plan(ipxe, ramdisk, tls(["ipxe"]))), SCRIPT);
  assert.equal(file(plan(bios, ramdisk, tls(["ipxe", "uefi-http"]))), "undionly.kpxe");
});
