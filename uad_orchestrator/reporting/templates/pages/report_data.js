"use strict";
// What the scripts of data, which follow, hand over: pages that are opened from a disk may read no files by themselves.
const reported = { category: null, folder: null, images: [], cells: new Map() };
const reportImages = data => Object.assign(reported, data);
const reportCell = data => reported.cells.set(data.detector, data);

const imagesPart = document.getElementById("images");
const shownCell = () => reported.cells.get(imagesPart.dataset.detector);

// The labelled test images, for the sliders.
const sliderData = () => {
  const cell = shownCell();
  const labelled = reported.images.map((_, i) => i)
    .filter(i => reported.images[i].label >= 0 && cell.scores[i] !== null);
  const of = values => labelled.map(i => values[i]);
  const data = {
    category: reported.category,
    detector: cell.detector,
    images: labelled.map(i => [reported.images[i].name, reported.images[i].type, reported.images[i].label]),
    image: { values: of(cell.scores), threshold: cell.threshold, review: cell.review },
  };
  if (cell.maxima) data.pixel = { values: of(cell.maxima), threshold: cell.pixelThreshold, review: null };
  return data;
};
