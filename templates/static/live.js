// Keeps a page as things are: when the server says (SSE) that its object has changed, else every
// minute, the page is fetched again from data-page and its parts marked data-live are put in, unless
// somebody types or has typed there. Without this script a page refreshes by itself where something is
// to be expected.
"use strict";
(function () {
  var page = document.querySelector("[data-page]");
  if (!page) return;
  var source = null;
  var broken = false;
  var wait = 1000;
  var late = 1000;
  var running = false;
  var again = false;
  // Timers, one of each: when what failed is tried again, when what was told is fetched, when streams
  // are asked for again.
  var retry = 0;
  var told = 0;
  var rejoin = 0;
  // True while the server has said that nothing shall be asked.
  var held = false;

  function typing(part) {
    var focus = document.activeElement;
    return part.contains(focus) && focus.matches("input, select, textarea");
  }

  // Something is in its form that the server does not know, or has refused.
  function typed(part) {
    return Array.from(part.querySelectorAll("input, select, textarea")).some(function (field) {
      return field.hasAttribute("aria-invalid") || (field.options
        ? Array.from(field.options).some(function (one) { return one.selected !== one.defaultSelected; })
        : field.value !== field.defaultValue);
    });
  }

  function put(text, query) {
    var next = new DOMParser().parseFromString(text, "text/html");
    leasehold.follow(next);
    document.querySelectorAll("[data-live]").forEach(function (part) {
      var fresh = next.getElementById(part.id);
      if (!fresh || typing(part) || (typed(part) && fresh.querySelector("form"))) return;
      leasehold.dress(fresh);
      if (fresh.innerHTML === part.innerHTML) return;
      var focus = part.contains(document.activeElement) ? document.activeElement : null;
      part.replaceChildren.apply(part, Array.from(fresh.childNodes));
      leasehold.dress(part);
      if (!focus) return;
      // The same by its name, or else one that looks and leads the same.
      var same = focus.id ? document.getElementById(focus.id)
        : Array.from(part.querySelectorAll(focus.tagName)).find(function (one) {
          return one.outerHTML === focus.outerHTML;
        });
      if (same) same.focus({ preventScroll: true });
    });
    document.title = next.title;
    if (leasehold.changed) leasehold.changed(next, query);
  }

  // One try is to come, however many have failed; not before the server wants one.
  function later(answer) {
    late = Math.min(late * 2, 60000);
    var asked = Math.min(Number(answer && answer.headers.get("retry-after")) || 0, 3600) * 1000;
    held = asked > 0;
    clearTimeout(retry);
    retry = setTimeout(function () { held = false; leasehold.refresh(); }, Math.max(late, asked));
  }

  // One at a time; what changes meanwhile is fetched once more.
  leasehold.refresh = function () {
    if (held) return;
    if (running) { again = true; return; }
    running = true;
    clearTimeout(retry);
    clearTimeout(told);
    told = 0;
    // With what a form asks about: its answer is in the same page.
    var query = leasehold.query ? leasehold.query() : "";
    var url = page.dataset.page;
    if (query) url += (url.includes("?") ? "&" : "?") + query;
    fetch(url, { cache: "no-store" })
      .then(function (answer) {
        // It is gone: what is said there now says so.
        if (answer.status === 404) location.replace(page.dataset.page);
        if (!answer.ok) { again = false; return later(answer); }
        return answer.text().then(function (text) { late = 1000; put(text, query); });
      })
      .catch(function () { again = false; later(null); })
      .then(function () {
        running = false;
        if (again) { again = false; leasehold.refresh(); }
      });
  };

  // Many pages are told at once: they do not all ask in the same moment.
  function soon() {
    if (!told) told = setTimeout(leasehold.refresh, Math.random() * 2000);
  }

  function listen() {
    if (source || document.hidden || !page.dataset.events || !window.EventSource) return;
    var mine = source = new EventSource(page.dataset.events);
    source.onopen = function () {
      wait = 1000;
      // Not each change of a page is one that a stream which goes on tells after a break.
      if (broken) soon();
      broken = false;
    };
    // The first message, too: what has changed since the page was made is not told again.
    source.onmessage = soon;
    // Browsers connect again by themselves after a break, but not after an answer such as 503.
    source.onerror = function () {
      broken = true;
      if (mine.readyState !== EventSource.CLOSED || mine !== source) return;
      source = null;
      clearTimeout(rejoin);
      rejoin = setTimeout(meet, wait);
      wait = Math.min(wait * 2, 30000);
    };
  }

  // What is missed while nobody tells is fetched.
  function meet() {
    if (document.hidden || source) return;
    leasehold.refresh();
    listen();
  }

  // A browser has six connections to a host: a tab that nobody sees needs none.
  document.addEventListener("visibilitychange", function () {
    if (!document.hidden) return meet();
    if (source) source.close();
    source = null;
  });
  setInterval(function () { if (!page.dataset.events) meet(); }, 60000);
  listen();
})();
