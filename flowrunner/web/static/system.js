// The system page: how many browsers are connected, as it changes.

import {number} from "./format.js";
import {lang} from "./shell.js";
import {live} from "./live.js";

const readers = document.getElementById("readers");
const told = () => { if (live.status && readers) readers.textContent = number(live.status.readers, lang); };
live.on("snapshot", told);
live.on("delta", told);
