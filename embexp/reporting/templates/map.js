// A finger cannot hover: the dot nearest to a tap, or to the pointer, is written out below the map.
for (const map of document.querySelectorAll("svg.map")) {
  const reading = map.parentNode.querySelector(".reading"), dots = [...map.querySelectorAll("circle")];
  const reach = 24;
  const read = (event) => {
    const box = map.getBoundingClientRect(), scale = box.width / map.viewBox.baseVal.width;
    const distance = (dot) => Math.hypot(
      dot.cx.baseVal.value * scale + box.left - event.clientX,
      dot.cy.baseVal.value * scale + box.top - event.clientY,
    );
    const near = dots.reduce((best, dot) => (distance(dot) <= distance(best) ? dot : best));
    if (distance(near) > reach) return;
    for (const dot of dots) dot.classList.toggle("read", dot === near);
    reading.textContent = `${near.classList.contains("question") ? "Question" : "Passage"}: ${near.textContent}`;
  };
  map.addEventListener("pointerdown", read);
  map.addEventListener("pointermove", read);
}
