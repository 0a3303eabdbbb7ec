/** What a session may do, lowest first. @source IPMI 2.0 §6.8, table 22-23 */
export const privilegeLevels = { CALLBACK: 1, USER: 2, OPERATOR: 3, ADMINISTRATOR: 4, OEM: 5 } as const;

export type PrivilegeLevel = keyof typeof privilegeLevels;

export function isPrivilegeLevel(text: string): text is PrivilegeLevel {
  return Object.hasOwn(privilegeLevels, text);
}
