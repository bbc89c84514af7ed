// Reloads the page's content when the object on it has changed. Without this script the page
// refreshes by itself.
"use strict";
(function () {
  var live = document.getElementById("live");
  if (!live || !window.EventSource) return;
  var shown = live.dataset.seq;
  var source = new EventSource(live.dataset.events);
  source.onmessage = function (message) {
    // The first message is what the page was made from, unless it has changed since.
    var known = shown !== null && String(JSON.parse(message.data).seq) === shown;
    shown = null;
    if (known) return;
    fetch(location.pathname + location.search, { cache: "no-store" })
      .then(function (answer) { return answer.text(); })
      .then(function (text) {
        var next = new DOMParser().parseFromString(text, "text/html");
        var fresh = next.getElementById("live");
        if (!fresh) return;
        live.replaceChildren.apply(live, Array.from(fresh.childNodes));
        document.title = next.title;
      });
  };
})();
