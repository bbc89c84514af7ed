// Keeps a page as things are: when the server says (SSE) that its object has changed, the page is
// fetched again from data-page and its parts marked data-live are put in, unless somebody types or
// has typed there. Without this script the page refreshes by itself where something is to be expected.
"use strict";
(function () {
  var page = document.querySelector("[data-events]");
  if (!page || !window.EventSource) return;
  var source = null;
  var wait = 1000;
  var late = 1000;
  var running = false;
  var again = false;

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

  function put(text) {
    var next = new DOMParser().parseFromString(text, "text/html");
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
      if (same) same.focus();
    });
    document.title = next.title;
    if (leasehold.changed) leasehold.changed();
  }

  // One at a time; what changes meanwhile is fetched once more.
  leasehold.refresh = function () {
    if (running) { again = true; return; }
    running = true;
    fetch(page.dataset.page, { cache: "no-store" })
      .then(function (answer) {
        // It is gone: what is said there now says so.
        if (answer.status === 404) location.replace(page.dataset.page);
        return answer.ok ? answer.text() : Promise.reject();
      })
      .then(function (text) { late = 1000; put(text); })
      .catch(function () {
        late = Math.min(late * 2, 60000);
        setTimeout(leasehold.refresh, late);
      })
      .then(function () {
        running = false;
        if (again) { again = false; leasehold.refresh(); }
      });
  };

  function listen() {
    if (source || document.hidden) return;
    var mine = source = new EventSource(page.dataset.events);
    source.onopen = function () { wait = 1000; };
    // The first message, too: what has changed since the page was made is not told again.
    source.onmessage = function () { leasehold.refresh(); };
    // Browsers connect again by themselves after a break, but not after an answer such as 503.
    source.onerror = function () {
      if (mine.readyState !== EventSource.CLOSED || mine !== source) return;
      source = null;
      setTimeout(meet, wait);
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
  listen();
})();
