// Light and dark: the system's choice until the button is pressed; paper is light. Tells "themed" after each change.
const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");
const theme = document.getElementById("theme");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);

function themed() {
  theme.setAttribute("aria-label", isDark() ? "Switch to light" : "Switch to dark");
  document.dispatchEvent(new Event("themed"));
}

theme.hidden = false;
theme.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  themed();
});
dark.addEventListener("change", themed);

let kept = ""; // the theme on the screen while paper is light
addEventListener("beforeprint", () => {
  kept = root.dataset.theme ?? "";
  root.dataset.theme = "light";
  themed();
});
addEventListener("afterprint", () => {
  if (kept) root.dataset.theme = kept;
  else delete root.dataset.theme;
  themed();
});
themed();
