// A member with a package of Node.js:
//
//     node node.mjs FOLDER BASE KIND        the folder has node_modules; KIND is `ws` or `undici`

import { createRequire } from 'node:module';
import { takePart } from './member.js';

const [folder, base, kind] = process.argv.slice(2);
const { WebSocket } = createRequire(`${folder}/`)(kind);

// By default, `ws` sends messages below 1 KiB plain.
const options = kind === 'ws' ? { perMessageDeflate: { threshold: 0 } } : undefined;

await takePart(url => new WebSocket(url, options), base, kind);
