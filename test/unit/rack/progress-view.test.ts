import assert from "node:assert/strict";
import { test } from "node:test";
import { ProgressView, type Screen } from "../../rack/progress-view.ts";

class Paper implements Screen {
  readonly isTTY: boolean;
  readonly columns = 100;
  text = "";
  constructor(isTTY: boolean) {
    this.isTTY = isTTY;
  }
  write(text: string): void {
    this.text += text;
  }
}

const nodes = [{ name: "bios-1", firmware: "bios" }] as const;

test("off a terminal every change is a line of its own and nothing is redrawn", () => {
  const paper = new Paper(false);
  using view = new ProgressView(paper, () => 61, nodes);
  view.stage("bios-1", "deploy");
  view.event({ type: "node.state", name: "bios-1", data: { to: "deploying" } });
  view.event({ type: "node.state", name: "another", data: { to: "deploying" } });
  for (const bytes of [0, 100, 150, 450, 1000]) {
    view.event({
      type: "node.step.progress",
      name: "bios-1",
      data: { step: "deploy.write_image", bytes, total: 1000, mb_s: 1 },
    });
  }
  assert.ok(!paper.text.includes("\u001b"));
  const lines = paper.text.trimEnd().split("\n");
  assert.equal(lines[0], "  1:01  bios-1: begins deploy");
  assert.equal(lines[1], "  1:01  bios-1: is deploying");
  // 0, 45 and 100 %: a report is due every 20 %.
  assert.deepEqual(
    lines.slice(3).map((line) => /(\d+) %/.exec(line)?.[1]),
    ["0", "45", "100"],
  );
});

test("on a terminal the lines of the nodes are drawn over themselves", () => {
  const paper = new Paper(true);
  {
    using view = new ProgressView(paper, () => 5, nodes);
    view.stage("bios-1", "manage");
    view.note("first");
    view.note("second");
  }
  assert.equal(paper.text.split("\u001b[1A\u001b[J").length, 3);
  assert.match(paper.text, /second\nbios-1 +manage/);
});
