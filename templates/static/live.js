// Keeps a page as things are: when the server says (SSE) that its object has changed, the page is
// fetched again and its parts marked data-live are put in, unless somebody is typing there. Without
// this script the page refreshes by itself where something is to be expected.
"use strict";
(function () {
  var page = document.querySelector("[data-events]");
  if (!page || !window.EventSource) return;
  var shown = page.dataset.seq;
  var wait = 1000;
  var running = false;
  var again = false;

  function typing(part) {
    var focus = document.activeElement;
    return part.contains(focus) && focus.matches("input, select, textarea");
  }

  function put(text) {
    var next = new DOMParser().parseFromString(text, "text/html");
    document.querySelectorAll("[data-live]").forEach(function (part) {
      var fresh = next.getElementById(part.id);
      if (!fresh || typing(part)) return;
      leasehold.dress(fresh);
      if (fresh.innerHTML === part.innerHTML) return;
      var focus = part.contains(document.activeElement) ? document.activeElement.id : "";
      part.replaceChildren.apply(part, Array.from(fresh.childNodes));
      leasehold.dress(part);
      var same = focus && document.getElementById(focus);
      if (same) same.focus();
    });
    document.title = next.title;
  }

  // One at a time; what changes meanwhile is fetched once more.
  leasehold.refresh = function () {
    if (running) { again = true; return; }
    running = true;
    fetch(location.pathname + location.search, { cache: "no-store" })
      .then(function (answer) { return answer.ok ? answer.text() : null; })
      .then(function (text) { if (text) put(text); })
      .catch(function () { setTimeout(leasehold.refresh, 3000); })
      .then(function () {
        running = false;
        if (again) { again = false; leasehold.refresh(); }
      });
  };

  function listen() {
    var source = new EventSource(page.dataset.events);
    source.onopen = function () { wait = 1000; };
    source.onmessage = function (message) {
      // The first message is what the page was made from, unless it has changed since.
      var known = shown !== null && String(JSON.parse(message.data).seq) === shown;
      shown = null;
      if (!known) leasehold.refresh();
    };
    // Browsers connect again by themselves after a break, but not after an answer such as 503.
    source.onerror = function () {
      if (source.readyState !== EventSource.CLOSED) return;
      setTimeout(listen, wait);
      wait = Math.min(wait * 2, 30000);
    };
  }
  listen();
})();
