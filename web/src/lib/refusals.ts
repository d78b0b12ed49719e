// Refusals that are about one field of a form, whichever route answers them.

/** The name of a refusal, the field as the API names it, and a clause that follows the field's label. */
const FIELD: Record<string, readonly [field: string, clause: string] | undefined> = {
  FreshFactorNeeded: ['password', 'is wrong'],
  TotpWrong: ['totp', 'is wrong or was used before'],
  SetupCodeWrong: ['code', 'is wrong'],
  NodeNameTaken: ['name', 'is taken: another node of the pool has it'],
  PoolExists: ['name', 'is taken: another pool has it'],
  UserExists: ['username', 'is taken'],
  PoolFull: ['pool_id', 'is full'],
  MaintenanceTooSoon: ['from', 'is too soon: it is told an hour ahead'],
  MaintenanceTooFar: ['from', 'is more than 90 days ahead'],
  MaintenanceOverlaps: ['from', 'overlaps other maintenance of the node'],
  MaintenanceUsedUp: ['duration_minutes', 'is more than is left of 8 hours in 7 days'],
};

/** The fields say all there is to say; a refusal of a name says itself what it is, in whatever form. */
export function listed(refusal: string, fields: Readonly<Record<string, string>>): boolean {
  return ['Invalid', 'Malformed'].includes(refusal) && Object.keys(fields).length > 0;
}

/** What stands beside which field. */
export function fieldsOf(refusal: string, fields: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const found = FIELD[refusal];
  return found ? { [found[0]]: found[1] } : fields;
}
