// Where something lies on the program's computer: its path, to be copied, and a way to see the folder in the desktop's own window.

import { button, make } from "./dom.js";
import { t } from "./messages.js";

let showsFolders = false;

export const begin = (about) => { showsFolders = about.shows_folders; };

export const openButton = (open, attributes) => (showsFolders ? [button(t("Open the folder"), open, { class: "quiet", ...attributes })] : []);

export class Where {
  // open: asks the program to show the folder.
  constructor(root, text, open) {
    Object.assign(this, { root, text, open });
    this.path = null;
  }

  show(path) {
    if (path === this.path) return;
    this.path = path;
    // Browsers let pages copy on this computer, or where the connection is encrypted.
    const copy = navigator.clipboard ? [button(t("Copy the path"), () => this.copy(), { class: "quiet copy" })] : [];
    this.done = make("span", { class: "muted", role: "status" });
    this.root.replaceChildren(
      make("span", { class: "muted" }, this.text, " ", make("code", { class: "path" }, path)), ...openButton(this.open), ...copy, this.done);
  }

  async copy() {
    const isCopied = await navigator.clipboard.writeText(this.path).then(() => true, () => false);
    this.done.textContent = isCopied ? t("Copied.") : t("The browser does not allow that; mark the path and copy it.");
  }
}
