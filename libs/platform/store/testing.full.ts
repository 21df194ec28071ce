// A process for folder.spec.ts that fills the small disk under the given folder and prints what happened.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { PairwiseError } from '@pairwise/errors';
import { openFolder } from './index.ts';

const folder = process.argv[2]!;
const store = await openFolder(folder);
const { digest } = await store.put(Buffer.alloc(10_000, 'a'));
let reason: string | undefined;
try {
  await store.put(Buffer.alloc(1_000_000, 'b'));
} catch (error) {
  if (error instanceof PairwiseError) reason = error.reason;
}
const kept = (await store.get(digest)).length === 10_000;
console.log(JSON.stringify({ reason, incoming: readdirSync(join(folder, 'incoming')), kept }));
