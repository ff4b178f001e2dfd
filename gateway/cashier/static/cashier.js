// What a page does beyond links and forms: it follows its payment, opens the wallet, counts down, copies.
// Without it everything but the wallet's own call works, and the page loads itself anew.
(() => {
  "use strict";
  const MOST_PAUSE = 15000;
  let followed = 0; // counts pages followed, so that an older follower ends

  const main = () => document.getElementById("main");
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));

  // ---- following the payment ----

  async function follow() {
    const mine = ++followed;
    let failures = 0;
    while (mine === followed && main() && "mark" in main().dataset && !("ended" in main().dataset)) {
      const seen = main().dataset.mark;
      const began = performance.now();
      const known = failures ? "" : seen; // after a failure: answered at once, so that it shows whether we are back
      try {
        if (main().dataset.again) {
          await pause(500); // the answer itself waits for the rail, see show
          if (mine === followed) await show(main().dataset.again);
          failures = 0;
          lost(false);
          continue;
        }
        const answer = await fetch(`${main().dataset.state}?seen=${encodeURIComponent(known)}`, { cache: "no-store" });
        if (!answer.ok) throw new Error(String(answer.status));
        failures = 0;
        lost(false);
        const { mark } = await answer.json();
        if (mine === followed && mark !== seen) await show();
        else if (performance.now() - began < 1000) await pause(3000); // too many wait: not waited for, so not asked at once
      } catch {
        failures += 1;
        if (failures > 1) lost(true);
        await pause(Math.min(MOST_PAUSE, 500 * 2 ** failures));
      }
    }
  }

  // Put the page's new state in place of the old one, without losing where the reader is.
  async function show(from = location.pathname + location.search) {
    const answer = await fetch(from, { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = next.getElementById("main");
    if (!fresh) throw new Error("not a page of ours");
    const held = main().contains(document.activeElement);
    main().replaceWith(document.adoptNode(fresh));
    if (held) main().focus({ preventScroll: true });
    document.title = next.title;
    tell(main().querySelector("h1").textContent);
    prepare();
  }

  // Say it to whoever listens instead of looking.
  function tell(words) {
    document.getElementById("said").textContent = words;
  }

  function lost(on) {
    const words = document.getElementById("lost");
    if (words.hidden === on) tell(on ? words.textContent : "");
    words.hidden = !on;
  }

  // ---- leaving for the rail, or into the wallet ----

  function open(button) {
    const canceled = main().querySelector("[data-canceled]");
    canceled.hidden = true;
    busy(button, true);
    window.wallets[button.dataset.wallet](JSON.parse(button.dataset.parameters), (paid) => {
      if (!paid) {
        busy(button, false);
        canceled.hidden = false;
      } // paid: the page hears it from the rail, which is the one to believe
    });
  }

  function go() {
    if (location.hash !== "#go") return;
    history.replaceState(null, "", location.pathname + location.search); // once: whoever comes back is not sent off again
    const there = main().querySelector("[data-go]");
    if (!there) return;
    if (there.dataset.wallet) open(there);
    else if (there.tagName === "FORM") there.requestSubmit();
    else there.click(); // not by its address: some rails want to know from which domain a payer comes
  }

  function busy(element, on) {
    const words = element.querySelector(".how") || element.querySelector(".does");
    if (on) {
      element.setAttribute("aria-busy", "true");
      element.dataset.words = words.textContent;
      words.textContent = element.dataset.busy || words.textContent;
    } else {
      element.removeAttribute("aria-busy");
      if (element.dataset.words) words.textContent = element.dataset.words;
    }
  }

  // ---- small things ----

  // The page says Beijing's time; a payer elsewhere reads the clock on the wall.
  function here() {
    const time = main().querySelector(".until time");
    if (!time) return;
    const at = new Date(time.dateTime);
    if (at.getTimezoneOffset() === -480) return;
    const clock = [at.getHours(), at.getMinutes()].map((part) => String(part).padStart(2, "0")).join(":");
    time.textContent = time.dataset.here.replace("{at}", clock);
  }

  function countDown() {
    const time = main().querySelector(".until time");
    const left = main().querySelector(".left");
    if (!time || !left) return;
    const seconds = Math.max(0, Math.floor((Date.parse(time.dateTime) - Date.now()) / 1000));
    left.hidden = seconds > 3600;
    left.textContent = `${left.dataset.left} ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }

  // What is shown to pay with may end before the payment does: the page is then asked for anew, once. A phone that has
  // slept meanwhile looks at the clock when it wakes; by its own count, since its clock may be wrong.
  function watch() {
    const { lasts } = main().dataset;
    if (lasts) main().dataset.end = Date.now() + 1000 * lasts;
  }

  async function renew() {
    if (!("end" in main().dataset) || Date.now() < main().dataset.end) return;
    delete main().dataset.end;
    try {
      await show();
      if (main().dataset.again) follow(); // at once, and not when the question that is open is answered
    } catch {
      main().dataset.end = Date.now() + 3000;
    }
  }

  function prepare() {
    for (const button of main().querySelectorAll("[data-copy]")) {
      if (!navigator.clipboard) continue;
      button.hidden = false;
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(button.dataset.copy);
        button.textContent = button.dataset.copied;
      });
    }
    for (const button of main().querySelectorAll("[data-wallet]")) {
      button.addEventListener("click", () => button.hasAttribute("aria-busy") || open(button));
    }
    for (const form of main().querySelectorAll("form")) {
      form.addEventListener("submit", (event) => {
        if (form.dataset.sent) event.preventDefault(); // a second press does nothing
        form.dataset.sent = "yes";
        if (event.submitter && event.submitter.classList.contains("way")) busy(event.submitter, true);
      });
    }
    here();
    countDown();
    watch();
    go();
  }

  // A page taken from the browser's memory shows what was; what is, is asked for.
  window.addEventListener("pageshow", (event) => event.persisted && location.reload());
  prepare();
  setInterval(countDown, 1000);
  setInterval(renew, 1000);
  follow();
})();
