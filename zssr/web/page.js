// A photo that is pasted anywhere on the page goes where a dropped one goes.
document.addEventListener("paste", (event) => {
  const file = event.clipboardData && event.clipboardData.files[0];
  if (!file) return;
  const give = () => {
    const input = document.querySelector("#photo input[type=file]");
    if (!input) return false;
    const files = new DataTransfer();
    files.items.add(file);
    input.files = files.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    return true;
  };
  if (give()) return;
  const clear = document.querySelector("#photo button[aria-label='Clear']");
  if (clear) clear.click();
  setTimeout(give, 200);
});
