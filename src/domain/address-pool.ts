/** The addresses that anybody may get, by index. */
export interface AddressPool<Address extends string> {
  readonly size: number;
  /** Under which its offers are held. */
  readonly network: number;
  /** null: nobody gets it by chance. */
  at(index: number): Address | null;
  has(address: Address): boolean;
}
