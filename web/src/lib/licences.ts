// What this product is built of, and under which licences.
import type { LicensedPackage } from './api/types';

/** Packages that hold every word in name, version or licence. */
export function findLicences(packages: readonly LicensedPackage[], text: string): LicensedPackage[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return packages.filter((p) => {
    const said = `${p.name} ${p.version} ${p.licence}`.toLowerCase();
    return words.every((word) => said.includes(word));
  });
}
