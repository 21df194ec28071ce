import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { apiReference } from './api.ts';
import { cliReference } from './cli.ts';

// Part of `npm run generate`: writes the references in docs/ from the API's descriptors and from the command line.

const docs = resolve(import.meta.dirname, '../../docs');
writeFileSync(resolve(docs, 'api.md'), apiReference());
writeFileSync(resolve(docs, 'cli.md'), cliReference());
