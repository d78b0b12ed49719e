// What this product is built of, and under which licences.

/** The static list of `GET /licences`, which is no part of the API document. */
export type Licences = { packages: Licence[]; texts: Record<string, string> };
export type Licence = { name: string; version: string; licence: string; text_id: string | null };

/** Packages that hold every word in name, version or licence. */
export function findLicences(packages: readonly Licence[], text: string): Licence[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return packages.filter((p) => {
    const said = `${p.name} ${p.version} ${p.licence}`.toLowerCase();
    return words.every((word) => said.includes(word));
  });
}
