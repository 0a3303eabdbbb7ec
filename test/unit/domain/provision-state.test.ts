import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type ProvisionEvent,
  type ProvisionState,
  provisionStates,
  provisionVerbs,
  transition,
} from "../../../src/domain/provision-state.ts";

const states = Object.keys(provisionStates) as ProvisionState[];
const edges = states.flatMap((from) =>
  Object.entries(provisionStates[from].on).map(([event, to]) => ({ from, event: event as ProvisionEvent, to })),
);
const ofKind = (kind: string): ProvisionState[] => states.filter((state) => provisionStates[state].kind === kind);

/** The edges as ironic/common/states.py 7bc6aba makes them, written down apart from our table. */
const ORACLE = `
enroll manage verifying|verifying done manageable|verifying fail enroll|manageable provide cleaning|manageable clean cleaning
manageable inspect inspecting|manageable adopt adopting|available deploy deploying|available manage manageable
cleaning done available|cleaning manage manageable|cleaning wait clean wait|cleaning hold clean hold|cleaning fail clean failed
clean wait resume cleaning|clean wait hold clean hold|clean wait fail clean failed|clean wait abort clean failed
clean hold unhold clean wait|clean hold abort clean failed|clean failed manage manageable
deploying done active|deploying wait wait call-back|deploying hold deploy hold|deploying fail deploy failed
wait call-back resume deploying|wait call-back hold deploy hold|wait call-back fail deploy failed|wait call-back abort deploy failed|wait call-back delete deleting
deploy hold unhold wait call-back|deploy hold abort deploy failed
deploy failed rebuild deploying|deploy failed deploy deploying|deploy failed delete deleting
active rebuild deploying|active delete deleting|active rescue rescuing|active service servicing
deleting clean cleaning|deleting fail error|error rebuild deploying|error delete deleting
inspecting done manageable|inspecting wait inspect wait|inspecting fail inspect failed
inspect wait resume inspecting|inspect wait done manageable|inspect wait fail inspect failed|inspect wait abort inspect failed
inspect failed inspect inspecting|inspect failed manage manageable
adopting done active|adopting fail adopt failed|adopt failed adopt adopting|adopt failed manage manageable
rescuing wait rescue wait|rescuing done rescue|rescuing fail rescue failed
rescue wait resume rescuing|rescue wait fail rescue failed|rescue wait abort rescue failed|rescue wait delete deleting
rescue rescue rescuing|rescue unrescue unrescuing|rescue delete deleting
rescue failed rescue rescuing|rescue failed unrescue unrescuing|rescue failed delete deleting
unrescuing done active|unrescuing fail unrescue failed
unrescue failed rescue rescuing|unrescue failed unrescue unrescuing|unrescue failed delete deleting
servicing done active|servicing wait service wait|servicing hold service hold|servicing fail service failed
service wait resume servicing|service wait hold service hold|service wait fail service failed|service wait abort service failed|service wait delete deleting
service hold unhold service wait|service hold service servicing|service hold fail service failed|service hold abort service failed
service failed service servicing|service failed rescue rescuing|service failed wait service wait|service failed hold service hold|service failed delete deleting|service failed abort active`
  .split(/[|\n]/)
  .filter((line) => line !== "");

test("has exactly the 30 states, 18 events and 93 edges of Ironic", () => {
  assert.equal(states.length, 30);
  assert.equal(new Set(edges.map((edge) => edge.event)).size, 18);
  assert.equal(edges.length, 93);
  assert.deepEqual(new Set(edges.map(({ from, event, to }) => `${from} ${event} ${to}`)), new Set(ORACLE));
});

test("24 states have a target, and it is stable", () => {
  const targeted = states.filter((state) => provisionStates[state].target !== null);
  assert.equal(targeted.length, 24);
  for (const state of targeted)
    assert.equal(provisionStates[provisionStates[state].target ?? state].kind, "stable", state);
});

test("every state can be reached from enroll", () => {
  const reached = new Set<ProvisionState>(["enroll"]);
  for (const state of reached) for (const next of Object.values(provisionStates[state].on)) reached.add(next);
  assert.deepEqual([...reached].toSorted(), states.toSorted());
});

test("all 14 working or waiting states can fail", () => {
  const busy = [...ofKind("working"), ...ofKind("waiting")];
  assert.equal(busy.length, 14);
  for (const state of busy) assert.ok(provisionStates[state].on.fail !== undefined, state);
});

test("all three holds can be aborted, and no failed state is a dead end", () => {
  assert.equal(ofKind("holding").length, 3);
  for (const state of ofKind("holding")) assert.ok(provisionStates[state].on.abort !== undefined, state);
  for (const state of ofKind("failed")) assert.ok(Object.keys(provisionStates[state].on).length > 0, state);
});

test("a working state that a restart finds without work leads to where its failure leads", () => {
  for (const state of ofKind("working"))
    assert.equal(provisionStates[state].ifConductorLost, provisionStates[state].on.fail, state);
  for (const state of states.filter((one) => provisionStates[one].kind !== "working"))
    assert.equal(provisionStates[state].ifConductorLost, null, state);
});

test("a ramdisk may look its node up in exactly the states of LOOKUP_ALLOWED", () => {
  const allowed = [
    "deploying",
    "wait call-back",
    "cleaning",
    "clean wait",
    "inspecting",
    "inspect wait",
    "rescuing",
    "rescue wait",
    "service wait",
  ];
  assert.deepEqual(states.filter((state) => provisionStates[state].lookup).toSorted(), allowed.toSorted());
});

test("what the table lacks is an answer that names the state and the event", () => {
  assert.deepEqual(transition("active", "provide"), { ok: false, from: "active", event: "provide" });
});

test("work with an aim of its own keeps it until it ends", () => {
  assert.deepEqual(transition("manageable", "clean", "manageable"), {
    ok: true,
    state: "cleaning",
    target: "manageable",
  });
  assert.deepEqual(transition("cleaning", "manage", "manageable"), { ok: true, state: "manageable", target: null });
});

test("every verb fires an event that some state knows", () => {
  for (const event of Object.values(provisionVerbs))
    assert.ok(
      edges.some((edge) => edge.event === event),
      event,
    );
});
