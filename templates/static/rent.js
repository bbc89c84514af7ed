// The slider of a duration: agrees with the fields, and the price follows both. It goes through
// durations that people say, in even steps.
"use strict";
(function () {
  var slider = document.getElementById("slider");
  var field = document.getElementById("time");
  var unit = document.getElementById("unit");
  var quote = document.getElementById("quote");
  if (!slider || !field || !unit) return;
  var units = { m: 60, h: 3600, d: 86400 };
  var least, steps;

  // The durations between the least and the most that the offer takes.
  function scale() {
    least = Number(slider.dataset.least);
    var most = Number(slider.dataset.most);
    steps = [];
    [[60, [1, 2, 5, 10, 15, 20, 30, 45]], [3600, [1, 2, 3, 4, 6, 8, 12, 18]],
      [86400, [1, 2, 3, 4, 5, 7, 10, 14, 21, 30, 45, 60, 90, 120, 180, 270, 365, 730, 1095, 1825, 3650]]
    ].forEach(function (group) {
      group[1].forEach(function (n) { steps.push(n * group[0]); });
    });
    steps = steps.filter(function (s) { return s > least && s < most; });
    steps.unshift(least);
    if (most > least) steps.push(most);
    slider.max = steps.length - 1;
    slider.value = nearest(seconds());
  }

  function seconds() { return Math.round(Number(field.value.replace(",", ".")) * units[unit.value]); }
  function words() { slider.setAttribute("aria-valuetext", leasehold.span(seconds())); }
  function nearest(s) {
    var best = 0;
    steps.forEach(function (step, n) {
      if (Math.abs(step - s) < Math.abs(steps[best] - s)) best = n;
    });
    return best;
  }

  var last = 0;
  var timer = 0;
  var late = 1000;

  // What is asked about.
  leasehold.query = function () {
    return "time=" + encodeURIComponent(field.value) + "&unit=" + unit.value;
  };

  function put(fresh) {
    late = 1000;
    if (fresh.innerHTML !== quote.innerHTML) {
      quote.replaceChildren.apply(quote, Array.from(fresh.childNodes));
    }
    tell();
  }

  // What stands beside a field is said of it, and no longer than it stands there.
  function tell() {
    var wrong = document.getElementById("time-error");
    field.setAttribute("aria-describedby", "time-hint" + (wrong ? " time-error" : ""));
    if (wrong) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  }

  // No price is better than that of something else.
  function fail() {
    var text = document.createElement("p");
    text.className = "quiet";
    text.textContent = "The price cannot be asked for at the moment. This page tries again.";
    quote.replaceChildren(text);
    tell();
    late = Math.min(late * 2, 60000);
    clearTimeout(timer);
    timer = setTimeout(price, late);
  }

  function price() {
    var asked = ++last;
    fetch(field.form.getAttribute("action") + "?" + leasehold.query())
      .then(function (answer) { return answer.ok ? answer.text() : Promise.reject(); })
      .then(function (text) {
        if (asked !== last) return;
        put(new DOMParser().parseFromString(text, "text/html").getElementById("quote"));
      })
      .catch(function () { if (asked === last) fail(); });
  }

  // The offer may be another, and with it what it takes and what it costs.
  leasehold.changed = function (page, query) {
    var range = page.getElementById("slider");
    if (!range) return;
    if (range.dataset.least !== slider.dataset.least || range.dataset.most !== slider.dataset.most) {
      slider.dataset.least = range.dataset.least;
      slider.dataset.most = range.dataset.most;
      scale();
    }
    // What is typed meanwhile is asked about by itself.
    if (query !== leasehold.query()) return;
    last += 1;
    clearTimeout(timer);
    put(page.getElementById("quote"));
  };
  function soon() { clearTimeout(timer); timer = setTimeout(price, 200); }

  scale();
  slider.parentNode.hidden = false;
  slider.addEventListener("input", function () {
    var s = steps[Number(slider.value)];
    var named = s % 86400 === 0 ? "d" : s % 3600 === 0 ? "h" : "m";
    unit.value = named;
    // The least, in whole minutes, must not be too little, the most not too much.
    field.value = String((s === least ? Math.ceil : Math.floor)(s / units[named]));
    words();
    soon();
  });
  [field, unit].forEach(function (input) {
    input.addEventListener("input", function () {
      slider.value = nearest(seconds());
      words();
      soon();
    });
  });
  words();
  // Enter in a field would press the first button of the form, hidden or not.
  var look = document.getElementById("look");
  if (look) look.remove();
})();
