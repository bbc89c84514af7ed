// Makes a page nicer; every page is complete without it. Times in the reader's own zone (UTC stays
// in the title), how far away they are from now on, copy buttons, forms that are sent once. live.js
// runs it again on what it puts in. Keeps nothing, sends nothing.
"use strict";
var leasehold = {};
(function () {
  var zone = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  // The server's clock when the page was made, and ours: countdowns follow the server.
  var ahead = Infinity;

  // A page that came faster tells better how far ahead our clock is.
  leasehold.follow = function (page) {
    var made = Number(page.documentElement.dataset.now);
    if (made) ahead = Math.min(ahead, Date.now() - made);
  };
  leasehold.follow(document);
  if (ahead === Infinity) ahead = 0;

  function each(root, selector, act) { root.querySelectorAll(selector).forEach(act); }

  leasehold.span = function (seconds) {
    var parts = [];
    [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]].forEach(function (unit) {
      var n = Math.floor(seconds / unit[1]);
      seconds -= n * unit[1];
      if (n && parts.length < 2) parts.push(n + " " + unit[0] + (n === 1 ? "" : "s"));
      else if (parts.length) parts.length = 2;
    });
    return parts.filter(Boolean).join(" ") || "0 seconds";
  };

  // How far away a moment is, as the server says it (Timestamp::away).
  leasehold.away = function (ms) {
    var s = Math.floor(Math.abs(ms) / 1000);
    if (ms <= 0 && s < 60) return "just now";
    var d = Math.floor(s / 86400), h = Math.floor(s / 3600) % 24, m = Math.floor(s / 60) % 60;
    var near = ms > 0 && s < 600;
    var said = d >= 10 ? [d, "d"] : d ? [d, "d", h, "h"] : h ? [h, "h", m, "min"]
      : m ? [m, "min", near ? s % 60 : 0, "s"] : [s, "s"];
    var text = said.slice(0, said[2] ? 4 : 2).join(" ");
    return ms > 0 ? "in " + text : text + " ago";
  };

  // The moments for which the page was fetched again: once each, however long it shows them.
  var over = {};
  // Moments that were still to come.
  var coming = {};

  function passed(moment) {
    if (!leasehold.refresh || over[moment]) return;
    over[moment] = true;
    leasehold.refresh();
  }

  function say(place, text) { if (place.textContent !== text) place.textContent = text; }

  function tick(root) {
    var now = Date.now() - ahead;
    each(root, "[data-at]", function (place) {
      var moment = place.dataset.at;
      var away = Number(moment) - now;
      if (away > 0) coming[moment] = true;
      else if (coming[moment]) passed(moment);
      say(place, "(" + leasehold.away(away) + ")");
    });
    each(root, "[data-until]", function (place) {
      var left = Math.floor((Number(place.dataset.until) - now) / 1000);
      if (left < 0) passed(place.dataset.until);
      left = Math.max(left, 0);
      if (place.tagName === "PROGRESS") place.value = left;
      else say(place.querySelector(".left") || place, leasehold.span(left));
    });
  }

  function copy(button) {
    var field = document.getElementById(button.dataset.copy);
    var done = function () {
      var said = document.getElementById("said");
      if (said) said.textContent = button.dataset.said;
      button.textContent = "Copied";
      setTimeout(function () { button.textContent = "Copy"; }, 2000);
    };
    var select = function () {
      getSelection().selectAllChildren(field);
      if (document.execCommand("copy")) done();
    };
    var text = field.dataset.text || field.textContent;
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, select);
    else select();
  }

  leasehold.dress = function (root) {
    each(root, "time[datetime]", function (time) {
      var at = new Date(time.getAttribute("datetime"));
      if (!isNaN(at)) say(time, zone.format(at));
    });
    each(root, "button[data-copy]", function (button) { button.hidden = false; });
    tick(root);
  };

  document.addEventListener("click", function (event) {
    var button = event.target.closest("button[data-copy]");
    if (button) copy(button);
    var print = event.target.closest("button[data-print]");
    if (print) window.print();
  });
  document.addEventListener("submit", function (event) {
    var form = event.target;
    if (form.dataset.sent) return event.preventDefault();
    // A download leaves the page where it is.
    if (form.dataset.again !== undefined) return;
    form.dataset.sent = "1";
    // Whoever stopped a slow answer may send it again.
    setTimeout(function () { delete form.dataset.sent; }, 5000);
  });
  // A page that comes back from the browser's memory may be sent again.
  window.addEventListener("pageshow", function () {
    each(document, "form[data-sent]", function (form) { delete form.dataset.sent; });
  });
  each(document, "button[data-print]", function (button) { button.hidden = false; });
  leasehold.dress(document);
  setInterval(function () { tick(document); }, 1000);
})();
